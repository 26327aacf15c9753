import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import fs, { type FileHandle, mkdir, open, readdir, readFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { HEADER_BYTES } from '../../../lib/store/folder/header.ts';
import { TempFile } from '../../../lib/store/folder/temp-file.ts';
import type { ObjectMeta } from '../../../lib/store/store.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { sha256 } from '../../fixtures/nar.ts';

const BODY = Buffer.from('a body');
const META: ObjectMeta = {
  ...{ path: '/log/x.drv', kind: 'log', origin: 'push', storedAt: new Date(0), size: BODY.length },
  sha256: sha256(BODY).toString('hex'),
};
const WATCH = { closed: () => {}, full: () => {}, left: () => {} };

for (const replace of [true, false]) {
  test(`a file is on the disk before it has its name (${replace ? 'replacing' : 'keeping'} what is there)`, async (t) => {
    const folder = await temporaryFolder(t);
    const target = join(folder, 'object');
    const handle = await open(folder);
    const synced: boolean[] = [];
    const { sync } = Object.getPrototypeOf(handle) as FileHandle;
    t.mock.method(Object.getPrototypeOf(handle), 'sync', function (this: FileHandle) {
      synced.push(existsSync(target));
      return sync.call(this);
    });
    await handle.close();
    const file = TempFile.create(join(folder, 'tmp'), WATCH);
    await file.write(BODY, 0);
    assert.equal(await file.commit(META, target, { replace, sync: true }), true);
    assert.deepEqual(synced, [false]);
    await file.close();
    const relaxed = TempFile.create(join(folder, 'tmp'), WATCH);
    await relaxed.write(BODY, 0);
    assert.equal(await relaxed.commit(META, target, { replace, sync: false }), replace);
    await relaxed.close();
    assert.deepEqual(synced, [false]);
    assert.deepEqual(await readdir(join(folder, 'tmp')), []);
    assert.ok((await readFile(target)).subarray(HEADER_BYTES).equals(BODY));
  });
}

test('what is not committed leaves nothing, closed once or twice; whoever watches is told once', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'tmp'));
  let closed = 0;
  const file = TempFile.create(join(folder, 'tmp'), { ...WATCH, closed: () => void closed++ });
  await file.write(BODY, 10);
  const buffer = Buffer.alloc(20);
  assert.equal(await file.read(buffer, 10), BODY.length);
  assert.ok(buffer.subarray(0, BODY.length).equals(BODY));
  await Promise.all([file.close(), file.close()]);
  assert.deepEqual([await readdir(join(folder, 'tmp')), closed], [[], 1]);
});

test('what the disk does not give back is a failure of the disk', async (t) => {
  const folder = await temporaryFolder(t);
  const file = TempFile.create(folder, WATCH);
  await file.ready();
  await file.close();
  await assert.rejects(file.read(Buffer.alloc(1), 0), (error) => isCacheError(error, 'storage'));
});

test('one that can not be closed goes all the same; that it can not go fails nobody, and is told', async (t) => {
  const folder = await temporaryFolder(t);
  const told: string[] = [];
  let closed = 0;
  const watch = {
    ...WATCH,
    closed: () => void closed++,
    left: (error: Error) => void told.push(error.message.replace(/ \/.*: /, ' … ')),
  };
  const tmp = join(folder, 'tmp');
  const own = fs.open;
  const opening = t.mock.method(fs, 'open', async (...args: Parameters<typeof own>) => {
    const handle = await own(...args);
    const { close } = handle;
    handle.close = async () => {
      await close.call(handle);
      throw Object.assign(new Error('EIO'), { code: 'EIO' });
    };
    return handle;
  });
  syncBuiltinESMExports();
  const file = TempFile.create(tmp, watch);
  await file.write(BODY, 0);
  await file.close();
  opening.mock.restore();
  syncBuiltinESMExports();
  assert.deepEqual([await readdir(tmp), told.splice(0), closed], [[], ["can't close … EIO"], 1]);
  const stored = TempFile.create(tmp, watch);
  await stored.write(BODY, 0);
  assert.equal(await stored.commit(META, join(folder, 'object'), { replace: false, sync: false }), true);
  const unlink = t.mock.method(fs, 'unlink', async () => {
    throw Object.assign(new Error('EACCES'), { code: 'EACCES' });
  });
  syncBuiltinESMExports();
  await stored.close();
  unlink.mock.restore();
  syncBuiltinESMExports();
  assert.deepEqual([told, closed], [["can't delete … EACCES"], 2]);
});
