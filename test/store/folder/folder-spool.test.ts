import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { type FolderSpool, SMALL_BYTES } from '../../../lib/store/folder/folder-spool.ts';
import { FolderScratch } from '../../../lib/store/folder/scratch.ts';
import { Tally } from '../../../lib/store/folder/tally.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';

async function setUp(t: Owner) {
  const folder = await temporaryFolder(t);
  const scratch = new FolderScratch(folder, new Tally(), () => {});
  await scratch.prepare(true);
  return { scratch, files: () => readdir(join(folder, 'tmp')), folder };
}

async function bytesOf(spool: FolderSpool, length: number, at = 0): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  return buffer.subarray(0, await spool.read(buffer, at));
}

test('a small body makes no file', async (t) => {
  const { files, scratch } = await setUp(t);
  const spool = scratch.spool();
  const body = Buffer.alloc(SMALL_BYTES, 'abc');
  await spool.write(body.subarray(10_000), 10_000);
  await spool.write(body.subarray(0, 10_000), 0);
  assert.ok(spool.small?.equals(body));
  assert.ok((await bytesOf(spool, 100, SMALL_BYTES - 3)).equals(body.subarray(-3)));
  assert.equal(await spool.read(Buffer.alloc(1), SMALL_BYTES), 0);
  assert.deepEqual(await files(), []);
  await spool.close();
  assert.deepEqual(await files(), []);
  await scratch.idle();
});

test('one that grows goes on in a file, with what it had and what is written meanwhile', async (t) => {
  const { files, scratch } = await setUp(t);
  const spool = scratch.spool();
  const body = Buffer.alloc(SMALL_BYTES + 5000, 'abcde');
  await spool.write(body.subarray(0, 1000), 0);
  const [larger, within] = [
    spool.write(body.subarray(SMALL_BYTES - 10), SMALL_BYTES - 10),
    spool.write(body.subarray(1000, SMALL_BYTES - 10), 1000),
  ];
  assert.equal(spool.small, undefined);
  assert.ok((await bytesOf(spool, 1000)).equals(body.subarray(0, 1000)), 'read on its way');
  await Promise.all([larger, within]);
  assert.ok((await bytesOf(spool, body.length + 1)).equals(body));
  assert.equal((await files()).length, 1);
  await Promise.all([spool.close(), spool.close()]);
  assert.deepEqual(await files(), []);
  await scratch.idle();
});

test('a disk that takes no file is told of by the first write that needs one; what is in memory stays', async (t) => {
  const { folder } = await setUp(t);
  // Longer than any path may be.
  const broken = new FolderScratch(`${folder}${'/x'.repeat(3000)}`, new Tally(), () => {}).spool();
  await broken.write(Buffer.from('body'), 0);
  for (let i = 0; i < 2; i++)
    await assert.rejects(broken.write(Buffer.from('more'), SMALL_BYTES), (error) =>
      isCacheError(error, 'storage'),
    );
  assert.equal(String(await bytesOf(broken, 10)), 'body');
  await broken.close();
});
