// Builds that are odd but honest, as real clients push them and read them: a signed one that refers to what is named by its contents, one
// whose name has a `?` in it, and one whose NAR is lost.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder } from '../fixtures/nginx.ts';
import { clients } from './client.ts';
import { keyOfNix, publicKeyIn, teamMachine, urlOf } from './trust.ts';

const make = (name: string, script: string, more = '') =>
  `derivation { name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "${script}" ]; ${more} }`;

const signed = `let
  script = builtins.toFile "script" "echo hi";
  fixed = ${make('fixed', 'echo flat > $out', 'outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = builtins.hashString "sha256" "flat\\n";')};
  old = ${make('old', 'echo flat > $out', 'outputHashMode = "flat"; outputHashAlgo = "sha1"; outputHash = builtins.hashString "sha1" "flat\\n";')};
  plain = ${make('plain', 'echo plain > $out')};
in ${make('top', 'echo ${script} $file $folder ${fixed} ${old} ${builtins.unsafeDiscardOutputDependency plain.drvPath} > $out', 'file = /root/file; folder = /root/folder;')}
`;

describe('odd builds', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name, skip } = client;

    test(`76: ${name} pushes, to trusted_keys, a signed build that refers to sources, derivations and the like`, {
      skip,
    }, async (t) => {
      const builder = await teamMachine(t, client, 'secret-key-files = /root/builder-1.secret');
      const key = await keyOfNix(builder, 'builder-1');
      await writeFile(builder.path('/root/file'), 'source');
      await mkdir(builder.path('/root/folder'));
      await writeFile(builder.path('/root/folder/a'), 'a');
      await writeFile(builder.path('/root/signed.nix'), signed);
      const top = await builder.output('nix-build', '--no-out-link', '/root/signed.nix');
      const config = `upstreams = []\n[push]\ntrusted_keys = ["${publicKeyIn(key)}"]\n`;
      const service = await startService(t, { config });
      await builder.output('nix', 'copy', '--to', urlOf(service), top);
      const reader = await teamMachine(t, client, `extra-substituters = ${urlOf(service)}`, key.trust);
      await reader.output('nix-store', '--realise', top, '--add-root', '/root/result');
      const paths = await reader.output('nix-store', '--query', '--requisites', top);
      assert.equal(paths.split('\n').length, 7);
    });

    test(`${name} reads the log of a name with a ? from a static upstream, and the one it pushed, from all copies, also after a restart`, {
      skip: skip || need('nginx'),
    }, async (t) => {
      const [builder, reader] = [await client.machine(t), await client.machine(t)];
      for (const machine of [builder, reader])
        await writeFile(machine.path('/root/odd.nix'), make('odd?name=1', 'echo a log; echo x > $out'));
      const out = await builder.output('nix-build', '--no-out-link', '/root/odd.nix');
      const drv = await reader.output('nix-instantiate', '/root/odd.nix');
      const first = await startService(t);
      for (const store of ['file:///srv', first.url]) {
        await builder.output('nix', 'copy', '--to', store, out);
        await builder.output('nix', 'store', 'copy-log', '--to', store, drv);
      }
      const { url } = await serveFolder(t, builder.path('/srv'));
      const second = await startService(t, { config: `[[upstreams]]\nurl = "${url}"\n` });
      const [stick, third] = [await temporaryFolder(t, 'stick'), await startService(t)];
      for (const [command, { dir }] of [
        ['export', first],
        ['import', third],
      ] as const)
        assert.equal((await (await commandsOn(t, dir)).run(command, stick, out)).code, 0);
      const assertRead = async (from: string) => {
        for (const asked of [drv, out]) {
          await reader.forget();
          const log = await reader.output('nix', 'log', asked, '--option', 'substituters', from);
          assert.equal(log, 'a log', `${asked} from ${from}`);
        }
      };
      for (const service of [first, second, third]) await assertRead(service.url);
      for (const one of [first, second]) {
        await one.stop();
        await assertRead((await startService(t, { dir: one.dir })).url);
      }
    });

    test(`77: ${name} pushes debug information again when its NAR is lost; it is found in both ways, and listings too`, {
      skip,
    }, async (t) => {
      const builder = await client.machine(t);
      const id = 'abcdef0123456789abcdef0123456789abcdef01';
      const file = `lib/debug/.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`;
      const script = `PATH=/usr/bin; mkdir -p $out/${file}; rmdir $out/${file}; echo symbols > $out/${file}`;
      await writeFile(builder.path('/root/debug.nix'), make('debug', script));
      const out = await builder.output('nix-build', '--no-out-link', '/root/debug.nix');
      const service = await startService(t);
      const to = `${service.url}?index-debug-info=true&write-nar-listing=true&compression=none`;
      const { run } = await commandsOn(t, service.dir);
      for (let i = 0; i < 2; i++) {
        await builder.output('nix', 'copy', '--to', to, out);
        for (const ending of ['', '.debug']) {
          const index = await fetch(`${service.url}/debuginfo/${id}${ending}`);
          assert.equal(index.status, 200, `round ${i}, "${ending}"`);
          const { archive } = (await index.json()) as { archive: string };
          const nar = await fetch(new URL(archive, `${service.url}/debuginfo/`));
          assert.match(await nar.text(), /symbols/);
        }
        assert.equal((await fetch(`${service.url}/${out.slice(11, 43)}.ls`)).status, 200);
        await builder.forget();
        const cat = ['nix', 'store', 'cat', '--store', service.url, `${out}/${file}`];
        assert.equal(await builder.output(...cat), 'symbols');
        assert.equal((await run('rm', out)).code, 0);
        for (const ending of ['', '.debug'])
          assert.equal((await fetch(`${service.url}/debuginfo/${id}${ending}`)).status, 404);
        await builder.forget();
      }
    });
  }
});
