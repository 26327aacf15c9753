// What a real client sees of an upstream that dies in the middle of a large NAR, or corrupts one, with another upstream
// to turn to: as little as can be.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { cp, open, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { patiently } from '../../fixtures/patience.ts';
import type { Relay } from '../../fixtures/relay.ts';
import { startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder } from '../fixtures/nginx.ts';
import { type Client, clients, type Machine } from './client.ts';
import { hashPart } from './closure.ts';

const MIB = 2 ** 20;

describe('a second upstream', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name } = client;
    const skip = client.skip || need('nginx');

    for (const [where, url] of [
      ['has the NAR too', undefined],
      ['has the NAR under a name of its own', 'files/2c6a2b1e-8f0d-4c1b.nar'],
    ] as const) {
      test(`${name} does not notice that the first upstream dies half-way; the second ${where}`, {
        skip,
      }, async (t) => {
        const noise = await makeNoise(t, client, 68 * MIB);
        const first = await serveFolder(t, noise.folder);
        const second = await serveFolder(t, await copyFolder(t, noise, url));
        const service = await startService(t, { config: upstreams(first, second) });
        const death = first.dieAfter(noise.size / 2);
        const machine = await client.machine(t);
        await assertUntroubled(machine, noise, service.url);
        await patiently(death, 'the death of the first upstream');
        assert.ok(second.answered < noise.size, 'what had arrived is not fetched again');
        await second.stop();
        await assertUntroubled(await client.machine(t), noise, service.url);
      });
    }

    test(`${name} gets an error from an upstream that corrupts, and all of it as soon as the second has it`, {
      skip,
    }, async (t) => {
      const { noise, service } = await startCorrupting(t, client, (size) => size / 2);
      const [nars, elsewhere] = [join(noise.folder, 'nar'), join(noise.folder, 'elsewhere')];
      await rename(nars, elsewhere);
      const machine = await client.machine(t);
      await assertRefused(machine, noise, service.url);
      await rename(elsewhere, nars);
      await assertUntroubled(machine, noise, service.url);
    });

    test(`${name} does not notice that the first upstream corrupts the end; the second has it right`, {
      skip,
    }, async (t) => {
      const { noise, service } = await startCorrupting(t, client, (size) => size - 1);
      const machine = await client.machine(t);
      await assertUntroubled(machine, noise, service.url);
    });

    test(`${name} gets an error or the right bytes when the first upstream corrupts the middle, then those of the second`, {
      skip,
    }, async (t) => {
      const { noise, service } = await startCorrupting(t, client, (size) => size / 2);
      const machine = await client.machine(t);
      // Whoever has seen wrong bytes is cut off, and Nix takes its next attempt for the rest of the same.
      const { code } = await machine.run(realise(noise, service.url));
      if (code === 0) await assertHas(machine, noise);
      else assert.ok(!(await machine.has(noise.storePath)));
      const next = code === 0 ? await client.machine(t) : machine;
      await assertUntroubled(next, noise, service.url);
    });
  }
});

interface Noise {
  /** A binary cache that has it, uncompressed. */
  readonly folder: string;
  readonly storePath: string;
  /** Of its contents, in bytes. */
  readonly size: number;
  readonly sha256: string;
}

/** A store path that is one incompressible file, in a binary cache folder as `nix copy` makes it. */
async function makeNoise(t: Owner, client: Client, size: number): Promise<Noise> {
  const machine = await client.machine(t);
  const bytes = randomBytes(size);
  await writeFile(machine.path('/root/noise'), bytes);
  const storePath = await machine.output('nix-store', '--add', '/root/noise');
  await machine.output('nix', 'copy', '--to', 'file:///srv?compression=none', storePath);
  return { folder: machine.path('/srv'), storePath, size, sha256: sha256(bytes) };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A binary cache folder with the same, the NAR under that URL if there is one. */
async function copyFolder(t: Owner, { folder, storePath }: Noise, url?: string): Promise<string> {
  const copy = await temporaryFolder(t, 'folder');
  await cp(folder, copy, { recursive: true });
  if (url === undefined) return copy;
  await cp(await narIn(copy), join(copy, url));
  await rename(join(copy, 'nar'), join(copy, 'hidden'));
  const file = join(copy, `${hashPart(storePath)}.narinfo`);
  await writeFile(file, (await readFile(file, 'utf8')).replace(/^URL: .*$/m, `URL: ${url}`));
  return copy;
}

/** A service with two upstreams, of which the first has one byte of the NAR wrong. */
async function startCorrupting(t: Owner, client: Client, where: (size: number) => number) {
  const noise = await makeNoise(t, client, 16 * MIB);
  const bad = await serveFolder(t, await corrupt(await copyFolder(t, noise), where));
  const good = await serveFolder(t, noise.folder);
  return { noise, service: await startService(t, { config: upstreams(bad, good) }) };
}

async function narIn(folder: string): Promise<string> {
  const [file = ''] = await readdir(join(folder, 'nar'));
  return join(folder, 'nar', file);
}

/** Changes the byte of the NAR that stands where `where` says, from the size. */
async function corrupt(folder: string, where: (size: number) => number): Promise<string> {
  const file = await open(await narIn(folder), 'r+');
  try {
    const at = where((await file.stat()).size);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.of(~(byte[0] ?? 0) & 255), 0, 1, at);
  } finally {
    await file.close();
  }
  return folder;
}

/** The configuration with these upstreams, in order. */
function upstreams(...list: Relay[]): string {
  return list.map(({ url }) => `[[upstreams]]\nurl = "${url}"\n`).join('\n');
}

/** The command that has the store path from that cache. */
function realise({ storePath }: Noise, url: string): string[] {
  // Without a root Nix 2.8 warns.
  const options = ['--add-root', '/root/result', '--option', 'substituters', url];
  return ['nix-store', '--realise', storePath, ...options];
}

/** Fails unless the client gets it without a word of trouble. */
async function assertUntroubled(machine: Machine, noise: Noise, url: string): Promise<void> {
  const { code, stderr } = await machine.run(realise(noise, url));
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, /warning|error|retry/i);
  await assertHas(machine, noise);
}

async function assertHas(machine: Machine, { storePath, sha256: expected }: Noise): Promise<void> {
  assert.ok(await machine.has(storePath));
  assert.equal(sha256(await readFile(machine.path(storePath))), expected);
}

/** Fails unless the client gets an error, and neither it nor the service keeps anything of the NAR. */
async function assertRefused(machine: Machine, noise: Noise, url: string): Promise<void> {
  const { code, stderr } = await machine.run(realise(noise, url));
  assert.notEqual(code, 0);
  assert.match(stderr, /error/);
  assert.ok(!(await machine.has(noise.storePath)));
  const narinfo = await (await fetch(`${url}/${hashPart(noise.storePath)}.narinfo`)).text();
  // By that address HEAD tells what the narinfo says; by a name alone, what is here.
  const nar = /^URL: nar\/[0-9a-z]{32}-(.+)$/m.exec(narinfo)?.[1];
  assert.ok(nar, narinfo);
  assert.equal((await fetch(`${url}/nar/${nar}`, { method: 'HEAD' })).status, 404);
}
