// What one cache exports a real client reads as files, nginx serves as it is, and another cache takes in.
import assert from 'node:assert/strict';
import { cp, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { startService } from '../../fixtures/service.ts';
import { readCache } from '../../fixtures/static-cache.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder } from '../fixtures/nginx.ts';
import { clients } from './client.ts';
import {
  assertHolds,
  buildClosure,
  contentAddressed,
  contents,
  hashPart,
  instantiateClosure,
} from './closure.ts';

const unsigned = ['--option', 'require-sigs', 'false'];

describe('a closure on a stick', { concurrency: availableParallelism() }, () => {
  for (const { name, skip, machine: makeMachine } of clients) {
    for (const compression of ['xz', 'zstd', 'none']) {
      test(`${name} gets it from files and nginx, and from where it was taken in (${compression})`, {
        skip: skip || need('nginx'),
      }, async (t) => {
        const [builder, other] = [await makeMachine(t), await makeMachine(t)];
        const [third, fourth] = [await makeMachine(t), await makeMachine(t)];
        const [first, second] = [await startService(t), await startService(t)];
        const closure = await buildClosure(builder, 2);
        await builder.output('nix', 'copy', '--to', `${first.url}?compression=${compression}`, closure.top);
        const stick = other.path('/stick');
        const exported = await (await commandsOn(t, first.dir)).run('export', stick, closure.top);
        assert.deepEqual([exported.code, exported.stderr], [0, '']);
        const found = await readCache(stick);
        assert.deepEqual([...found.keys()].sort(), [...closure.paths.keys()].map(hashPart).sort());

        await other.output('nix', 'copy', '--from', 'file:///stick', '--no-check-sigs', closure.top);
        await assertHolds(other, closure);
        const { url } = await serveFolder(t, stick);
        await third.output('nix', 'copy', '--from', url, '--no-check-sigs', closure.top);
        await assertHolds(third, closure);

        const { run } = await commandsOn(t, second.dir);
        const imported = await run('import', stick);
        assert.deepEqual([imported.code, imported.stderr], [0, '']);
        await fourth.output('nix', 'copy', '--from', second.url, '--no-check-sigs', closure.top);
        await assertHolds(fourth, closure);
        const back = await temporaryFolder(t);
        assert.equal((await run('export', back)).code, 0);
        assert.deepEqual(await readCache(back), found);
      });
    }

    test(`${name} finds what is content-addressed where it was taken in from a stick`, {
      skip,
    }, async (t) => {
      const [builder, reader, other] = [await makeMachine(t), await makeMachine(t), await makeMachine(t)];
      const [first, second] = [await startService(t), await startService(t)];
      const features = ['--option', 'experimental-features', 'nix-command ca-derivations'];
      for (const machine of [builder, reader, other])
        await writeFile(machine.path('/root/ca.nix'), contentAddressed);
      await writeFile(builder.path('/root/may-build'), '');
      const built = await builder.output('nix-build', '--no-out-link', '/root/ca.nix', ...features);
      await builder.output('nix', 'copy', '--to', first.url, '--file', '/root/ca.nix', ...features);
      const stick = await temporaryFolder(t, 'stick');
      for (const [service, command] of [
        [first, 'export'],
        [second, 'import'],
      ] as const) {
        const done = await (await commandsOn(t, service.dir)).run(command, stick, built);
        assert.deepEqual([done.code, done.stderr], [0, ''], command);
      }
      await cp(stick, other.path('/stick'), { recursive: true });
      for (const [machine, from] of [
        [reader, second.url],
        [other, 'file:///stick'],
      ] as const) {
        const substitute = ['--option', 'substituters', from, ...unsigned, ...features];
        const found = await machine.output('nix-build', '--no-out-link', '/root/ca.nix', ...substitute);
        assert.equal(found, built, from);
        assert.deepEqual(await contents(machine, [found]), await contents(builder, [built]));
      }
    });

    test(`${name} finds listing, log and debug information where they were taken in from a stick`, {
      skip,
    }, async (t) => {
      const [builder, reader] = [await makeMachine(t), await makeMachine(t)];
      const [first, second] = [await startService(t), await startService(t)];
      const closure = await buildClosure(builder, 1);
      const tool = [...closure.paths.keys()].find((path) => path.endsWith('-tool+g++_1.0')) ?? '';
      const settings = 'write-nar-listing=true&index-debug-info=true';
      await builder.output('nix', 'copy', '--to', `${first.url}?${settings}`, tool);
      const deriver = await builder.output('nix-store', '--query', '--deriver', tool);
      await builder.output('nix', 'store', 'copy-log', '--to', first.url, deriver);
      const stick = await temporaryFolder(t, 'stick');
      for (const [service, command] of [
        [first, 'export'],
        [second, 'import'],
      ] as const) {
        const done = await (await commandsOn(t, service.dir)).run(command, stick, tool);
        assert.deepEqual([done.code, done.stderr], [0, ''], command);
      }
      await instantiateClosure(reader, 1);
      const log = await reader.output('nix', 'log', deriver, '--option', 'substituters', second.url);
      assert.equal(log, 'making tool+g++_1.0');
      assert.equal((await fetch(`${second.url}/${hashPart(tool)}.ls`)).status, 200);
      const debug = await fetch(`${second.url}/debuginfo/abcdef0123456789abcdef0123456789abcdef01.debug`);
      const { archive } = (await debug.json()) as { archive: string };
      const nar = await fetch(new URL(archive, `${second.url}/debuginfo/`));
      assert.equal(nar.status, 200);
    });

    test(`${name} writes a folder, and a cache takes it in and serves it`, { skip }, async (t) => {
      const [builder, other] = [await makeMachine(t), await makeMachine(t)];
      const service = await startService(t);
      const closure = await buildClosure(builder, 2);
      await builder.output('nix', 'copy', '--to', 'file:///srv?compression=xz', closure.top);
      const { run } = await commandsOn(t, service.dir);
      const served = await serveFolder(t, builder.path('/srv'));
      const parts = [...closure.paths.keys()].filter((path) => path !== closure.top);
      // A part of it over the network, by closures, and the rest from the folder.
      const overNetwork = await run('import', served.url, ...parts.slice(0, 2));
      assert.deepEqual([overNetwork.code, overNetwork.stderr], [0, '']);
      const folder = await temporaryFolder(t);
      await cp(builder.path('/srv'), folder, { recursive: true });
      const imported = await run('import', folder, closure.top);
      assert.deepEqual([imported.code, imported.stderr], [0, '']);
      assert.match(imported.stdout, /were there already/);
      await other.output('nix', 'copy', '--from', service.url, '--no-check-sigs', closure.top);
      await assertHolds(other, closure);
    });
  }
});
