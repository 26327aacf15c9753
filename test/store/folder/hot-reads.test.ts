import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import type { Descriptor } from '../../../lib/store/folder/descriptor.ts';
import { HotReads } from '../../../lib/store/folder/hot-reads.ts';
import type { Known } from '../../../lib/store/folder/kept-files.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';

const HOT_MS = 30_000;
const EXT4 = 0xef53;
const [NFS, FUSE, OVERLAY] = [0x6969, 0x65735546, 0x794c7630];

/** On a disk of that type, which takes `readMs` for a read. */
async function setUp(t: { mock: typeof test.mock; after(fn: () => Promise<void>): void }, type: number) {
  let now = 1000;
  let readMs = 0.01;
  t.mock.method(performance, 'now', () => now);
  const looking = t.mock.method(fs, 'statfs', async () => ({ type }));
  syncBuiltinESMExports();
  const hot = new HotReads();
  const descriptor = {
    readNow: (_buffer: Buffer, _offset: number, length: number) => {
      now += readMs;
      return length;
    },
  } as unknown as Descriptor;
  const known = { descriptor, hotUntil: Number.NEGATIVE_INFINITY } as Known;
  const read = (length = 20_000) =>
    hot.canRead(known, length) ? hot.read(known, Buffer.alloc(0), length, 0) : undefined;
  hot.done(known);
  assert.equal(read(), undefined, 'nobody has looked where the folder lies');
  await hot.begin(await temporaryFolder(t));
  looking.mock.restore();
  syncBuiltinESMExports();
  return {
    ...{ hot, known, read },
    later: (ms: number) => {
      now += ms;
    },
    slow: (ms: number) => {
      readMs = ms;
    },
  };
}

test('what was read a moment ago is read at once, other things by a thread', async (t) => {
  const { hot, known, later, read } = await setUp(t, EXT4);
  hot.done(known);
  assert.equal(read(), true);
  assert.equal(read(64 * 1024 + 1), undefined, 'it is not small');
  later(HOT_MS);
  assert.equal(read(), undefined);
  hot.done(known);
  assert.equal(read(), true);
});

test('where one was slow, there are none for a while, and for longer each time, until they are fast again', async (t) => {
  const { hot, known, later, read, slow } = await setUp(t, EXT4);
  const isReadIn = (ms: number) => {
    later(ms);
    hot.done(known);
    return read() !== undefined;
  };
  slow(5);
  assert.deepEqual([isReadIn(0), isReadIn(99), isReadIn(1)], [true, false, true]);
  assert.deepEqual([isReadIn(199), isReadIn(1)], [false, true]);
  for (let times = 0; times < 20; times++) isReadIn(60_000);
  slow(0.01);
  assert.deepEqual([isReadIn(59_000), isReadIn(1000)], [false, true]);
  for (let times = 0; times < 100; times++) assert.ok(isReadIn(0));
  slow(5);
  assert.deepEqual([isReadIn(0), isReadIn(99), isReadIn(1)], [true, false, true]);
});

test('a disk that may ask another machine, or a program, is never waited for', async (t) => {
  for (const type of [NFS, FUSE, OVERLAY]) {
    const { hot, known, read } = await setUp(t, type);
    hot.done(known);
    assert.equal(read(), undefined);
    t.mock.restoreAll();
  }
});
