// What was removed is gone for every client at once: pushed again in the same moment, it is there again.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { commandsOn } from '../../fixtures/command.ts';
import { startService } from '../../fixtures/service.ts';
import { clients } from './client.ts';
import { assertHolds, buildClosure } from './closure.ts';

describe('what rm has removed', { concurrency: availableParallelism() }, () => {
  for (const { name, skip, machine: makeMachine } of clients) {
    test(`${name} pushes again at once, and another gets it`, { skip }, async (t) => {
      const [builder, reader] = [await makeMachine(t), await makeMachine(t)];
      const service = await startService(t);
      const { run } = await commandsOn(t, service.dir);
      const closure = await buildClosure(builder, 1);
      await builder.output('nix', 'copy', '--to', service.url, closure.top);
      for (const path of [closure.noise, closure.top]) {
        // The service has it in memory.
        const asked = await builder.output('nix', 'path-info', '--refresh', '--store', service.url, path);
        assert.equal(asked, path);
        assert.equal((await run('rm', path)).code, 0);
        await builder.output('nix', 'copy', '--refresh', '--to', service.url, closure.top);
        await builder.output('nix', 'path-info', '--refresh', '--store', service.url, path);
      }
      await reader.output('nix', 'copy', '--from', service.url, '--no-check-sigs', closure.top);
      await assertHolds(reader, closure);
    });
  }
});
