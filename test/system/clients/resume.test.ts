// A real client's download goes on where it was, also when the service is killed in the middle of it and started again, and what
// the service had by then does not cross the link twice.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { field, makePackage } from '../../fixtures/nar.ts';
import { withRanges } from '../../fixtures/servers.ts';
import { startService } from '../../fixtures/service.ts';
import { gated, startUpstream, whole } from '../../fixtures/upstream.ts';
import { clients } from './client.ts';

const MIB = 2 ** 20;
const one = makePackage('resumed', { size: 24 * MIB });

describe('a service that is killed in the middle of a large NAR', { concurrency: 3 }, () => {
  for (const client of clients) {
    const { name, skip } = client;
    test(`${name} goes on where it was, and so does the service`, { skip }, async (t) => {
      const upstream = await startUpstream(t);
      const gate = gated(one.file);
      upstream.on('/nix-cache-info', whole('StoreDir: /nix/store\n'));
      upstream.on(one.narInfoPath, whole(one.narInfo));
      upstream.on(one.narPath, gate.handler);
      const config = `connections = 1\n[[upstreams]]\nurl = "${upstream.url}"\n`;
      const killed = await startService(t, { config });
      const machine = await client.machine(t);
      const path = field(one.narInfo, 'StorePath');
      const options = ['--option', 'substituters', killed.url, '--option', 'require-sigs', 'false'];
      const running = machine.run(['nix-store', '--realise', path, ...options]);
      await upstream.asked(one.narPath);
      gate.release(16 * MIB);
      // Far enough for the service to have noted how far it has come.
      const slow = fetch(`${killed.url}/nar/${one.hash}-${one.narPath.slice('/nar/'.length)}`);
      let seen = 0;
      for await (const chunk of (await slow).body ?? []) {
        seen += chunk.length;
        if (seen > 15 * MIB) break;
      }
      await killed.kill();
      upstream.on(one.narPath, withRanges(one.file));
      const args = ['--listen', `127.0.0.1:${killed.port}`];
      await startService(t, { config, dir: killed.dir, args });
      const { code, stderr } = await running;
      assert.equal(code, 0, stderr);
      assert.ok(await machine.has(path));
      const starts = upstream.requests
        .filter(({ url }) => url === one.narPath)
        .map(({ headers }) => Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0));
      assert.equal(starts.length, 2, String(starts));
      assert.ok((starts[1] ?? 0) >= 4 * MIB, `went on from ${starts[1]}`);
    });
  }
});
