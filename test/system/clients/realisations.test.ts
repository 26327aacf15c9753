// The signatures of realisations, which `nix copy` demands of every one that it takes into a store; and that a push without signatures, of what CI
// has pushed with them, takes none away.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import type { Owner } from '../../fixtures/defer.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { type Client, clients, type Machine } from './client.ts';
import { contentAddressed } from './closure.ts';
import { keygen, keyOfNix, type SigningKey, teamMachine, urlOf } from './trust.ts';

const features = ['--option', 'experimental-features', 'nix-command ca-derivations'];
const plain =
  'derivation { name = "plain"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo $name > $out" ]; }';

/** A machine with the derivations, which it may build. */
async function builderOf(t: Owner, client: Client, ...lines: string[]): Promise<Machine> {
  const machine = await teamMachine(t, client, ...lines);
  await writeFile(machine.path('/root/ca.nix'), contentAddressed);
  await writeFile(machine.path('/root/plain.nix'), plain);
  await writeFile(machine.path('/root/may-build'), '');
  return machine;
}

/** Pushes what is named by its contents, with its realisations, and the plain path. */
async function push(machine: Machine, { url }: Service): Promise<void> {
  for (const file of ['/root/ca.nix', '/root/plain.nix']) {
    await machine.output('nix-build', '--no-out-link', file, ...features);
    await machine.output('nix', 'copy', '--to', url, '--file', file, ...features);
  }
}

/** Copies both to a new machine that trusts that key, or sees that it refuses them for want of a signature. */
async function assertCopies(
  t: Owner,
  client: Client,
  service: Service,
  { trust }: SigningKey,
  works: boolean,
): Promise<void> {
  const reader = await builderOf(t, client, trust);
  for (const file of ['/root/ca.nix', '/root/plain.nix']) {
    const command = ['nix', 'copy', '--from', urlOf(service), '--file', file, ...features];
    const { code, stderr } = await reader.run(command);
    if (works) assert.equal(code, 0, stderr);
    else assert.match(stderr, /lacks a (valid )?signature/, file);
  }
}

describe('realisations', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name, skip } = client;

    test(`${name} copies what is named by its contents when the cache has signed the realisations, and trusts that key`, {
      skip,
    }, async (t) => {
      const [own, wrong] = [await keygen(t), await keygen(t, 'wrong-1')];
      const service = await startService(t, { config: `upstreams = []\n${own.table}` });
      await push(await builderOf(t, client), service);
      await assertCopies(t, client, service, own, true);
      await assertCopies(t, client, service, wrong, false);
    });

    test(`${name} pushes without signatures what CI pushed with them, and these stay`, {
      skip,
    }, async (t) => {
      const service = await startService(t);
      const laptop = await builderOf(t, client);
      const paths: string[] = [];
      for (const file of ['ca', 'plain'])
        paths.push(await laptop.output('nix-build', '--no-out-link', `/root/${file}.nix`, ...features));
      // From then on it believes that the cache lacks them, and will push them all.
      await laptop.run(['nix', 'path-info', '--recursive', '--store', service.url, ...paths]);
      const ci = await builderOf(t, client, 'secret-key-files = /root/ci-1.secret');
      const key = await keyOfNix(ci, 'ci-1');
      await push(ci, service);
      const putsBefore = (await service.wholeLog()).match(/PUT \S+\.narinfo/g)?.length ?? 0;
      await push(laptop, service);
      const puts = (await service.wholeLog()).match(/PUT \S+\.narinfo/g)?.length ?? 0;
      assert.ok(puts > putsBefore, 'the laptop pushed');
      await assertCopies(t, client, service, key, true);
    });
  }
});
