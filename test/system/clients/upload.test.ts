// `/upload`: real clients push all of a closure there, whatever the cache's upstreams have of it already.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { clients, type Machine } from './client.ts';
import { buildClosure, hashPart } from './closure.ts';
import {
  assertSubstitutes,
  keygen,
  pushed,
  realise,
  serveSigned,
  TOKENS,
  teamMachine,
  tokenTable,
  urlOf,
  writeNetrc,
} from './trust.ts';

describe('/upload', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name } = client;
    const skip = client.skip || need('nginx');

    for (const [how, warm] of [
      ['the upstream has parts of it', false],
      ['the cache has fetched parts of it from the upstream', true],
    ] as const) {
      test(`${name} pushes a whole closure there although ${how}`, { skip }, async (t) => {
        const builder = await teamMachine(t, client);
        const closure = await buildClosure(builder, 1);
        const part = {
          ...closure,
          top: [...closure.paths.keys()].find((path) => path.endsWith('-tool+g++_1.0')) ?? '',
        };
        const { upstream, key: theirs } = await serveSigned(t, builder, 'theirs-1', part);
        const own = await keygen(t);
        const config = `${tokenTable('push')}${own.table}[[upstreams]]\nurl = "${upstream.url}"\n`;
        const service = await startService(t, { config });
        await writeNetrc(builder, TOKENS.push);
        if (warm) {
          const reader = await teamMachine(t, client, `extra-substituters = ${urlOf(service)}`, theirs.trust);
          const { code, stderr } = await realise(reader, part);
          assert.equal(code, 0, stderr);
        }

        await pushed(builder, urlOf(service), closure);
        assert.equal(
          await countPushed(service.url, closure.paths.keys()),
          3,
          'the plain URL leaves out parts',
        );
        await pushed(builder, `${urlOf(service)}/upload`, closure);
        assert.equal(await countPushed(service.url, closure.paths.keys()), 5);
        await upstream.stop();
        assert.equal(await service.stop(), 0);
        assert.equal(
          service.log().match(/PUT \/(upload\/)?nar\/\S+ 200/g)?.length,
          5,
          'each NAR is pushed once',
        );
        const restarted = await startService(t, { config, dir: service.dir });
        await assertSubstitutes(t, client, urlOf(restarted), closure, own.trust);
        await assertSubstitutes(t, client, `${urlOf(restarted)}/upload`, closure, own.trust);
      });
    }

    test(`${name} pushes there what has come out differently at an upstream, once, and finds it`, {
      skip,
    }, async (t) => {
      const [theirBuilder, builder] = [await teamMachine(t, client), await teamMachine(t, client)];
      const [top, same] = [await buildAnew(theirBuilder), await buildAnew(builder)];
      assert.equal(same, top);
      const { upstream, key: theirs } = await serveSigned(t, theirBuilder, 'theirs-1', { top });
      const own = await keygen(t);
      const config = `${tokenTable('push')}${own.table}[[upstreams]]\nurl = "${upstream.url}"\n`;
      const service = await startService(t, { config });
      const reader = await teamMachine(t, client, `extra-substituters = ${urlOf(service)}`, theirs.trust);
      await reader.output('nix-store', '--realise', top);

      await writeNetrc(builder, TOKENS.push);
      for (let i = 0; i < 3; i++) {
        await builder.output('nix', 'copy', '--refresh', '--to', `${urlOf(service)}/upload`, top);
        await builder.forget();
      }
      assert.equal(
        (await service.wholeLog()).match(/PUT \/upload\/\S+ 200/g)?.length,
        4,
        'a NAR and a narinfo of two paths',
      );
      await upstream.stop();
      const other = await teamMachine(t, client, `extra-substituters = ${urlOf(service)}`, own.trust);
      await other.output('nix-store', '--realise', top);
      assert.equal(await other.output('cat', top), await builder.output('cat', top));
    });
  }
});

/** Builds a path and one that it refers to, both other than ever before; the path. */
async function buildAnew(machine: Machine): Promise<string> {
  const make = (name: string, script: string, more = '') =>
    `derivation { name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh";
      args = [ "-c" "read x < /proc/sys/kernel/random/uuid; ${script}" ]; ${more} }`;
  const dep = make('dep', 'echo $x > $out');
  await writeFile(machine.path('/root/anew.nix'), make('top', 'echo $dep $x > $out', `dep = ${dep};`));
  return machine.output('nix-build', '--no-out-link', '/root/anew.nix');
}

/** How many of the paths are there of those that were pushed. */
async function countPushed(url: string, paths: Iterable<string>): Promise<number> {
  let count = 0;
  for (const path of paths) if ((await fetch(`${url}/upload/${hashPart(path)}.narinfo`)).ok) count++;
  return count;
}
