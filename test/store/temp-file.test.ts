import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { HEADER_BYTES } from '../../lib/store/header.ts';
import type { ObjectMeta } from '../../lib/store/store.ts';
import { TempFile } from '../../lib/store/temp-file.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { sha256 } from '../fixtures/nar.ts';

const BODY = Buffer.from('a body');
const META: ObjectMeta = {
  ...{ path: '/log/x.drv', kind: 'log', origin: 'push', storedAt: new Date(0), size: BODY.length },
  sha256: sha256(BODY).toString('hex'),
};
const WATCH = { closed: () => {}, full: () => {} };

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
