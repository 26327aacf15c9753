import assert from 'node:assert/strict';
import { type FileHandle, mkdir, open, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { bytesOf, hashOf } from '../../../lib/check/body.ts';
import { isCacheError } from '../../../lib/errors.ts';
import { barePlaceOf } from '../../../lib/store/folder/files.ts';
import { inspectFile } from '../../../lib/store/folder/inspect.ts';
import type { Place } from '../../../lib/store/upkeep.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';
import { noise, sha256 } from '../../fixtures/nar.ts';
import { output } from '../../fixtures/run.ts';

const BODY = noise(300_000, 'body');

async function sourceOf(t: Owner) {
  const folder = await temporaryFolder(t);
  const file = join(folder, idOf('x'));
  await writeFile(file, BODY);
  return { folder, file, place: barePlaceOf(idOf('x')) };
}

test('it is read piece by piece, and whoever checks may wait or end it at each', async (t) => {
  const { folder, place } = await sourceOf(t);
  const pauses: number[] = [];
  const file = await inspectFile(folder, place, async (bytes) => {
    if (pauses.push(bytes) > 20) throw new Error('enough');
  });
  assert.ok(file);
  assert.equal(file.bytes, BODY.length);
  assert.ok((await bytesOf(file, 10, 200_000)).equals(BODY.subarray(10, 200_000)));
  assert.ok((await hashOf(file)).equals(sha256(BODY)));
  assert.equal(
    pauses.reduce((sum, bytes) => sum + bytes),
    4096 + 199_990 + 300_000,
  );
  await assert.rejects(async () => {
    for (;;) await hashOf(file);
  }, /enough/);
  await file.close();
});

test('a place that the disk has lost is damage; any other failure is that of the disk', async (t) => {
  const { file: path, folder, place } = await sourceOf(t);
  const handle = await open(path);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  for (const [code, ours] of [
    ['EIO', 'damaged'],
    ['EBADMSG', 'damaged'],
    ['ENOMEM', 'storage'],
  ] as const) {
    const file = await inspectFile(folder, place, () => {});
    const read = t.mock.method(prototype, 'read', () =>
      Promise.reject(Object.assign(new Error(code), { code })),
    );
    await assert.rejects(
      file === undefined ? Promise.resolve() : hashOf(file),
      (error) => isCacheError(error, ours),
      code,
    );
    read.mock.restore();
    await file?.close();
  }
});

test('what is gone, or no file, is not opened', async (t) => {
  const { folder } = await sourceOf(t);
  for (const name of ['missing', 'folder', 'link', 'pipe']) {
    if (name === 'pipe') await output('mkfifo', [join(folder, name)]);
    if (name === 'folder') await mkdir(join(folder, name));
    if (name === 'link') await symlink('folder', join(folder, name));
    assert.equal(await inspectFile(folder, name as Place, () => {}), undefined, name);
  }
});
