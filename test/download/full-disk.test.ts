// Downloads that pass through memory, because the disk takes nothing, and end before their bytes do.
import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { soon } from '../fixtures/crew.ts';
import { BREAK, FULL_DISK, hashOf, NOTHING, open, start } from '../fixtures/download.ts';
import { type FakeSource, fakeSource } from '../fixtures/fake-source.ts';
import { noise } from '../fixtures/nar.ts';
import { patiently } from '../fixtures/patience.ts';

const MIB = 2 ** 20;
const BODY = noise(64 * MIB, 'full disk');
const KNOWN = { ...NOTHING, fileHash: hashOf(BODY), fileSize: BODY.length };

/** Sends all but the front, of which it sends one piece, and the rest when `front` says so. */
function withoutFront(front: () => Promise<void>): FakeSource {
  return fakeSource('source', BODY, {
    chunk: 65_536,
    before: (at) => (at > 0 && at < 2 * MIB ? front() : undefined),
  });
}

test('a body several times as large as the memory passes through it', async (t) => {
  const source = fakeSource('source', BODY, { chunk: 65_536 });
  const { download, kept } = await start(t, [source], KNOWN, 4, FULL_DISK);
  const readers = [buffer(open(download)), buffer(open(download, MIB))];
  const [whole, part] = await Promise.all(readers);
  assert.ok(whole?.equals(BODY) && part?.equals(BODY.subarray(MIB)));
  await download.ended;
  assert.deepEqual(kept, []);
});

test('when the front can not be had, those who wait for room behind it end too', async (t) => {
  let fail = () => {};
  const failing = new Promise<void>((_, reject) => {
    fail = () => reject(BREAK);
  });
  failing.catch(() => {});
  const source = withoutFront(() => failing);
  const { download } = await start(t, [source], KNOWN, 4, FULL_DISK);
  const reading = assert.rejects(buffer(open(download)), /connection reset/);
  await soon(() => source.bytes > 15 * MIB, 'all memory taken');
  fail();
  await patiently(reading, 'the reader to hear of it');
  await patiently(download.ended, 'the end');
  assert.equal(source.open, 0);
});

test('when the last reader has left, those who wait for room end too', async (t) => {
  let go = () => {};
  const released = new Promise<void>((resolve) => {
    go = resolve;
  });
  const source = withoutFront(() => released);
  const { download } = await start(t, [source], KNOWN, 4, FULL_DISK);
  const reader = download.hold()?.open(0, undefined);
  assert.ok(reader !== undefined);
  await soon(() => source.bytes > 15 * MIB, 'all memory taken');
  reader.close();
  go();
  await patiently(download.ended, 'the end');
  assert.equal(source.open, 0);
});
