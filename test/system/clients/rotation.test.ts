// A signing key that another takes the place of, walked through as docs/push.md says it: no client ever lacks a signature that it trusts.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import type { Relay } from '../../fixtures/relay.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder } from '../fixtures/nginx.ts';
import { clients } from './client.ts';
import { keygen, keyOfNix, type SigningKey, teamMachine, urlOf } from './trust.ts';

/** Signs what is pulled, too. */
const config = ({ url }: Relay, keys: readonly SigningKey[]) =>
  `[[upstreams]]\nurl = "${url}"\npublic_keys = []\n[signing]\nsign = "all"\nkey_files = [${keys.map(({ file }) => `"${file}"`)}]\n`;

describe('a key is replaced', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name, skip } = client;

    test(`${name} gets what is pulled and what was pushed, with the old key, both or the new one, after a reload and a restart`, {
      skip: skip || need('nginx'),
    }, async (t) => {
      const builder = await teamMachine(t, client);
      const [old, next] = [await keyOfNix(builder, 'cache-1'), await keygen(t, 'cache-2')];
      const build = (one: string) => {
        const text = `derivation { name = "${one}"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo $name > $out" ]; }`;
        return builder.output('nix-build', '--no-out-link', '-E', text);
      };
      const paths = [await build('pulled'), await build('pushed')] as const;
      await builder.output('nix', 'copy', '--to', 'file:///srv', paths[0]);
      const upstream = await serveFolder(t, builder.path('/srv'));
      const first = await startService(t, { config: config(upstream, [old]) });
      await builder.output('nix', 'copy', '--to', urlOf(first), paths[1]);
      const both = `${old.trust}\n${next.trust}`;

      /** Whether a new machine that trusts these keys gets both paths, or neither. */
      const assertGets = async (service: Service, trust: string, gets = true) => {
        const machine = await teamMachine(t, client, `extra-substituters = ${urlOf(service)}`, trust);
        for (const path of paths) {
          const { code, stderr } = await machine.run([
            'nix-store',
            '--realise',
            path,
            '--add-root',
            '/root/x',
          ]);
          assert.equal(code === 0, gets, stderr);
          assert.equal(await machine.has(path), gets);
        }
      };
      await assertGets(first, old.trust);
      await assertGets(first, next.trust, false);

      await first.reload(config(upstream, [old, next]));
      for (const trust of [old.trust, both, next.trust]) await assertGets(first, trust);
      await first.stop();
      const second = await startService(t, { dir: first.dir, config: config(upstream, [old, next]) });
      for (const trust of [old.trust, next.trust]) await assertGets(second, trust);

      // When all clients have the new line.
      await second.reload(config(upstream, [next]));
      for (const trust of [both, next.trust]) await assertGets(second, trust);
      await assertGets(second, old.trust, false);
      await second.stop();
      const third = await startService(t, { dir: first.dir, config: config(upstream, [next]) });
      await assertGets(third, next.trust);
      await assertGets(third, old.trust, false);
    });
  }
});
