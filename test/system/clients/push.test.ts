// Real clients push to the service what they built and get it back.

import assert from 'node:assert/strict';
import { cp, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { startService } from '../../fixtures/service.ts';
import { clients } from './client.ts';
import {
  assertHolds,
  assertLacks,
  buildClosure,
  contentAddressed,
  contents,
  hashPart,
  instantiateClosure,
  realiseClosure,
} from './closure.ts';

const unsigned = ['--option', 'require-sigs', 'false'];

describe('a push', { concurrency: availableParallelism() }, () => {
  for (const { name, skip, machine: makeMachine } of clients) {
    test(`${name} pushes a closure, deletes it and substitutes it back`, { skip }, async (t) => {
      const machine = await makeMachine(t);
      const { url } = await startService(t);
      const closure = await buildClosure(machine, 24);
      await machine.output('nix', 'copy', '--to', url, closure.top);

      await t.test('by nix copy --from', async () => {
        await machine.collectGarbage();
        await assertLacks(machine, closure);
        await machine.output('nix', 'copy', '--from', url, '--no-check-sigs', closure.top);
        await assertHolds(machine, closure);
      });
      await t.test('by realising the store path', async () => {
        await machine.collectGarbage();
        await assertLacks(machine, closure);
        await machine.output(
          'nix-store',
          '--realise',
          closure.top,
          '--option',
          'substituters',
          url,
          ...unsigned,
        );
        await assertHolds(machine, closure);
      });
      await t.test('instead of building', async () => {
        await machine.collectGarbage();
        assert.notEqual((await machine.run(realiseClosure())).code, 0, 'the builders do not refuse to run');
        await machine.output(...realiseClosure('--option', 'substituters', url, ...unsigned));
        await assertHolds(machine, closure);
      });
    });

    test(`${name} pushes what another cache has, and gets it back after a restart`, { skip }, async (t) => {
      const machine = await makeMachine(t);
      const [first, second] = [await startService(t), await startService(t)];
      const closure = await buildClosure(machine, 4);
      await machine.output('nix', 'copy', '--to', first.url, closure.top);
      await machine.collectGarbage();
      await machine.output(
        'nix',
        'copy',
        '--from',
        first.url,
        '--to',
        second.url,
        '--no-check-sigs',
        closure.top,
      );
      assert.equal(await second.stop(), 0);
      const { url } = await startService(t, { dir: second.dir });
      await machine.output(...realiseClosure('--option', 'substituters', url, ...unsigned));
      await assertHolds(machine, closure);
    });

    test(`${name} pushes again, and it is a success without work`, { skip }, async (t) => {
      const machine = await makeMachine(t);
      const service = await startService(t);
      const closure = await buildClosure(machine, 1);
      await machine.output('nix', 'copy', '--to', service.url, closure.top);
      const before = (await service.wholeLog()).length;
      await machine.output('nix', 'copy', '--to', service.url, closure.top);
      await machine.forget();
      await machine.output('nix', 'copy', '--to', service.url, closure.top);
      assert.doesNotMatch((await service.wholeLog()).slice(before), /PUT/);
    });

    test(`${name} pushes from two machines at once`, { skip }, async (t) => {
      const [one, two] = [await makeMachine(t), await makeMachine(t)];
      const { url } = await startService(t);
      const closure = await buildClosure(one, 4);
      await one.output('nix', 'copy', '--to', 'file:///srv?compression=none', closure.top);
      await cp(one.path('/srv'), two.path('/srv'), { recursive: true });
      await two.output('nix', 'copy', '--from', 'file:///srv', '--no-check-sigs', closure.top);
      await Promise.all([one, two].map((machine) => machine.output('nix', 'copy', '--to', url, closure.top)));
      const three = await makeMachine(t);
      await three.output('nix', 'copy', '--from', url, '--no-check-sigs', closure.top);
      await assertHolds(three, closure);
    });

    for (const [settings, megabytes] of [
      ['compression=none', 24],
      ['compression=zstd', 24],
      ['compression=bzip2', 1],
      ['compression=br', 1],
      ['write-nar-listing=1', 1],
      ['write-nar-listing=1&index-debug-info=true&compression=none', 1],
      ['narinfo-compression=gzip&ls-compression=br&log-compression=gzip&write-nar-listing=1', 1],
    ] as const) {
      test(`${name} pushes with ?${settings} and gets it back`, { skip }, async (t) => {
        const machine = await makeMachine(t);
        const { url } = await startService(t);
        const closure = await buildClosure(machine, megabytes);
        await machine.output('nix', 'copy', '--to', `${url}?${settings}`, closure.top);
        await machine.collectGarbage();
        await machine.forget();
        await machine.output('nix', 'copy', '--from', url, '--no-check-sigs', closure.top);
        await assertHolds(machine, closure);

        const tool = [...closure.paths.keys()].find((path) => path.endsWith('-tool+g++_1.0')) ?? '';
        if (settings.includes('listing')) {
          const listing = await fetch(`${url}/${hashPart(tool)}.ls`);
          assert.equal(listing.status, 200);
          const { version, root } = (await listing.json()) as { version: number; root: { entries: object } };
          assert.equal(version, 1);
          assert.deepEqual(Object.keys(root.entries).sort(), [
            'a dir',
            'bin',
            'empty',
            'lib',
            'link',
            'self',
          ]);
        }
        if (settings.includes('debug')) {
          const debug = await fetch(`${url}/debuginfo/abcdef0123456789abcdef0123456789abcdef01.debug`);
          assert.equal(debug.status, 200);
          const { archive, member } = (await debug.json()) as { archive: string; member: string };
          assert.equal(member, 'lib/debug/.build-id/ab/cdef0123456789abcdef0123456789abcdef01.debug');
          const nar = await fetch(new URL(archive, `${url}/debuginfo/`));
          assert.equal(nar.status, 200);
          assert.match(await nar.text(), /symbols/);
        }
      });
    }

    test(`${name} pushes a build log and reads it elsewhere`, { skip }, async (t) => {
      const [builder, reader] = [await makeMachine(t), await makeMachine(t)];
      const { url } = await startService(t);
      const { noise } = await buildClosure(builder, 1);
      const deriver = await builder.output('nix-store', '--query', '--deriver', noise);
      await builder.output('nix', 'store', 'copy-log', '--to', url, deriver);
      await instantiateClosure(reader, 1);
      const log = await reader.output('nix', 'log', deriver, '--option', 'substituters', url);
      assert.equal(log, 'making noise');
    });

    test(`${name} pushes what is content-addressed, and another finds it without building`, {
      skip,
    }, async (t) => {
      const [builder, reader] = [await makeMachine(t), await makeMachine(t)];
      const { url } = await startService(t);
      const features = ['--option', 'experimental-features', 'nix-command ca-derivations'];
      for (const machine of [builder, reader])
        await writeFile(machine.path('/root/ca.nix'), contentAddressed);

      await writeFile(builder.path('/root/may-build'), '');
      const built = await builder.output('nix-build', '--no-out-link', '/root/ca.nix', ...features);
      await builder.output('nix', 'copy', '--to', url, '--file', '/root/ca.nix', ...features);
      const substitute = ['--option', 'substituters', url, ...unsigned, ...features];
      const found = await reader.output('nix-build', '--no-out-link', '/root/ca.nix', ...substitute);
      assert.equal(found, built);
      assert.deepEqual(await contents(reader, [found]), await contents(builder, [built]));
    });

    test(`${name} signs in the cache what it pushed without a signature`, { skip }, async (t) => {
      const [machine, reader] = [await makeMachine(t), await makeMachine(t)];
      const { url } = await startService(t);
      const closure = await buildClosure(machine, 1);
      const generate = ['nix-store', '--generate-binary-cache-key'];
      const trusted: string[] = [];
      for (const key of ['/root/one', '/root/two']) {
        await machine.output(...generate, `test${key.replaceAll('/', '-')}-1`, key, `${key}.public`);
        trusted.push(await machine.output('cat', `${key}.public`));
      }
      await machine.output('nix', 'copy', '--to', url, closure.top);
      for (const key of ['/root/one', '/root/two'])
        await machine.output(
          'nix',
          'store',
          'sign',
          '--store',
          url,
          '--key-file',
          key,
          '--recursive',
          closure.top,
        );

      for (const key of trusted) {
        const substitute = ['--option', 'substituters', url, '--option', 'trusted-public-keys', key];
        await reader.output('nix-store', '--realise', closure.top, ...substitute);
        await assertHolds(reader, closure);
        await reader.collectGarbage();
      }
    });

    test(`${name} asks what the service knows of a closure`, { skip }, async (t) => {
      const machine = await makeMachine(t);
      const { url } = await startService(t);
      const { top, paths } = await buildClosure(machine, 1);
      await machine.output('nix', 'copy', '--to', url, top);
      await machine.forget();
      const known = await machine.output('nix', 'path-info', '--store', url, '--recursive', top);
      assert.deepEqual(known.split('\n').sort(), [...paths.keys()].sort());
    });

    test(`${name} takes a path that is nowhere for missing, at once, and builds it`, { skip }, async (t) => {
      const machine = await makeMachine(t);
      const service = await startService(t);
      const substitute = ['--option', 'substituters', service.url];
      const nowhere = '/nix/store/00000000000000000000000000000000-nowhere';

      const info = await machine.run(['nix', 'path-info', '--store', service.url, nowhere]);
      assert.equal(info.code, 1);
      assert.match(info.stderr, /is not valid/);
      const realise = await machine.run(['nix-store', '--realise', nowhere, ...substitute]);
      assert.equal(realise.code, 1);
      assert.doesNotMatch(info.stderr + realise.stderr, /HTTP error|retrying|warning/);

      // A miss lets the build go on; an error would end it.
      await assertHolds(machine, await buildClosure(machine, 1, ...substitute));
    });
  }
});
