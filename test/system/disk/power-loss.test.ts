// What a client or an operator was told is on the disk at that moment, not a little later.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileOf, isStored } from '../../fixtures/aged.ts';
import { put } from '../../fixtures/client.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { program } from '../../fixtures/project.ts';
import { run } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { imageDisk } from '../fixtures/image-disk.ts';
import { needDevice } from '../fixtures/need-root.ts';

const MIB = 2 ** 20;
const skip = needDevice('/dev/loop-control', 'mount', 'mkfs.ext4');

test('after a power loss is there what was pushed, merged and pinned, and gone what was removed', {
  skip,
}, async (t) => {
  const { afterPowerLoss, mounted } = await imageDisk(t, 32 * MIB);
  const cache = 'new/cache';
  const service = await startService(t, { dir: join(mounted, cache) });
  const [signer, other] = ['one', 'other'].map((name) => ({ name, seed: Buffer.alloc(32, name) }));
  assert.ok(signer !== undefined && other !== undefined);
  const [one, again] = [signer, other].map((key) => makePackage('one', { size: 50_000, keys: [key] }));
  assert.ok(one !== undefined && again !== undefined);
  const listing = one.narInfoPath.replace('.narinfo', '.ls');
  const command = async (...args: string[]) => {
    const { code, stderr } = await run(process.execPath, [program, ...args, '--cache-dir', service.dir]);
    assert.equal(code, 0, stderr);
  };
  const stored = (path: string) =>
    afterPowerLoss((disk) => readFile(fileOf(join(disk, cache), path), 'latin1'));

  const bodies = { [one.narPath]: one.file, [one.narInfoPath]: one.narInfo, [listing]: '{"version":1}' };
  for (const [path, body] of Object.entries(bodies)) {
    assert.equal((await put(service.url, path, body)).status, 200);
    assert.ok((await stored(path)).endsWith(body.toString('latin1')), path);
  }
  assert.equal((await put(service.url, again.narInfoPath, again.narInfo)).status, 200);
  assert.match(await stored(one.narInfoPath), /Sig: one:.*\nSig: other:/);
  await command('pin', one.storePath, '--name', 'p');
  await afterPowerLoss((disk) => readFile(join(disk, cache, 'pins/p')));
  await command('rm', one.storePath);
  for (const path of Object.keys(bodies)) {
    assert.equal(await afterPowerLoss((disk) => isStored(join(disk, cache), path)), false, path);
  }
});
