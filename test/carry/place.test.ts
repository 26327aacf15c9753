import assert from 'node:assert/strict';
import { type FileHandle, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { placeFile, prepareTarget, readIfThere, writeText } from '../../lib/carry/place.ts';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import { temporaryFolder } from '../fixtures/defer.ts';

test('a file has its name when all of it is there; its bytes are synced before, the name after that', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'x.narinfo');
  const handle = await open(folder);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  const { sync } = prototype;
  const seen: string[] = [];
  t.mock.method(prototype, 'sync', async function (this: FileHandle) {
    seen.push((await this.stat()).isDirectory() ? 'folder' : 'file');
    seen.push((await readdir(folder)).includes('x.narinfo') ? 'there' : 'not there');
    return sync.call(this);
  });
  await handle.close();
  await placeFile(file, async (write) => {
    await write(Buffer.from('one '));
    assert.ok(!(await readdir(folder)).includes('x.narinfo'));
    await write(Buffer.from('two'));
  });
  assert.deepEqual(seen, ['file', 'not there', 'folder', 'there']);
  assert.equal(await readIfThere(file), 'one two');
  await writeText(file, 'three');
  assert.deepEqual([await readFile(file, 'utf8'), await readdir(folder)], ['three', ['x.narinfo']]);
});

test('a file that fails half-way leaves what was there, and nothing beside it', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'x.narinfo');
  await writeText(file, 'before');
  for (const [error, code] of [
    [new CacheError('invalid', 'wrong'), 'invalid'],
    [new Error('the disk'), 'storage'],
  ] as const) {
    const failing = placeFile(file, async (write) => {
      await write(Buffer.from('half'));
      throw error;
    });
    await assert.rejects(failing, (found) => isCacheError(found, code));
    assert.deepEqual([await readFile(file, 'utf8'), await readdir(folder)], ['before', ['x.narinfo']]);
  }
});

test('what an earlier export left half-written goes, and nothing else does', async (t) => {
  const folder = join(await temporaryFolder(t), 'a', 'b');
  await prepareTarget(folder);
  for (const name of [`.export-${'0'.repeat(16)}.tmp`, '.export-mine.tmp', 'x.narinfo', 'x.tmp'])
    await writeFile(join(folder, name), '');
  await prepareTarget(folder);
  assert.deepEqual((await readdir(folder)).sort(), ['.export-mine.tmp', 'x.narinfo', 'x.tmp']);
  assert.equal(await readIfThere(join(folder, 'missing')), undefined);
  await assert.rejects(prepareTarget(join(folder, 'x.tmp')), (error) => isCacheError(error, 'storage'));
});
