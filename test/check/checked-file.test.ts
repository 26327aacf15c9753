import assert from 'node:assert/strict';
import { type FileHandle, mkdir, open, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { CheckedFile } from '../../lib/check/checked-file.ts';
import { isCacheError } from '../../lib/errors.ts';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { idOf } from '../fixtures/holdings.ts';
import { noise, sha256 } from '../fixtures/nar.ts';
import { output } from '../fixtures/run.ts';

const BODY = noise(300_000, 'body');

async function sourceOf(t: Owner) {
  const folder = await temporaryFolder(t);
  const file = join(folder, idOf('x'));
  await writeFile(file, BODY);
  return { folder, source: { id: idOf('x'), file, flat: true } };
}

test('it is read piece by piece, and whoever checks may wait or end it at each', async (t) => {
  const { source } = await sourceOf(t);
  const pauses: number[] = [];
  const file = await CheckedFile.open(source, async (bytes) => {
    if (pauses.push(bytes) > 20) throw new Error('enough');
  });
  assert.ok(file);
  assert.equal(file.bytes, BODY.length);
  assert.ok((await file.text(10, 200_000)).equals(BODY.subarray(10, 200_000)));
  assert.ok((await file.hash(7)).equals(sha256(BODY.subarray(7))));
  assert.equal((await file.head()).length, 4096);
  assert.equal(
    pauses.reduce((sum, bytes) => sum + bytes),
    199_990 + 299_993 + 4096,
  );
  await assert.rejects(async () => {
    for (;;) await file.hash(0);
  }, /enough/);
  await file.close();
});

test('a place that the disk has lost is damage; any other failure is that of the disk', async (t) => {
  const { source } = await sourceOf(t);
  const handle = await open(source.file);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  for (const [code, ours] of [
    ['EIO', 'damaged'],
    ['EBADMSG', 'damaged'],
    ['ENOMEM', 'storage'],
  ] as const) {
    const file = await CheckedFile.open(source, () => {});
    const read = t.mock.method(prototype, 'read', () =>
      Promise.reject(Object.assign(new Error(code), { code })),
    );
    await assert.rejects(file?.hash(0) ?? Promise.resolve(), (error) => isCacheError(error, ours), code);
    read.mock.restore();
    await file?.close();
  }
});

test('what is gone, or no file, is not opened', async (t) => {
  const { folder, source } = await sourceOf(t);
  for (const name of ['missing', 'folder', 'link', 'pipe']) {
    if (name === 'pipe') await output('mkfifo', [join(folder, name)]);
    if (name === 'folder') await mkdir(join(folder, name));
    if (name === 'link') await symlink('folder', join(folder, name));
    assert.equal(await CheckedFile.open({ ...source, file: join(folder, name) }, () => {}), undefined, name);
  }
});
