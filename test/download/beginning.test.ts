import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { BeginningStore } from '../../lib/download/beginnings.ts';
import type { Expected } from '../../lib/download/verify.ts';
import { hashOf, NOTHING, open, start } from '../fixtures/download.ts';
import { fakeSource } from '../fixtures/fake-source.ts';
import { patiently } from '../fixtures/patience.ts';

const BODY = Buffer.alloc(15 << 20, 'a body');
const KNOWN: Expected = { ...NOTHING, fileHash: hashOf(BODY), fileSize: BODY.length };

/** Where notes take as long as `noting`, and what is written there. */
function notes(noting: Promise<void>) {
  const lengths: number[] = [];
  const store: BeginningStore = {
    noteBeginning: (_spool, { length }) => {
      lengths.push(length);
      return noting;
    },
    keepBeginning: async () => {},
  };
  return { lengths, store };
}

test('every few megabytes it is noted how far it has come', async (t) => {
  const { lengths, store } = notes(Promise.resolve());
  const { download } = await start(t, [fakeSource('source', BODY)], KNOWN, 1, undefined, store);
  assert.ok((await buffer(open(download))).equals(BODY));
  await download.ended;
  assert.deepEqual(
    lengths.map((length) => length >> 22),
    [1, 2, 3],
  );
});

test('no reader waits for a disk that takes no note, but whoever keeps the file does', async (t) => {
  let goOn = () => {};
  const hanging = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const { lengths, store } = notes(hanging);
  const { download, kept } = await start(t, [fakeSource('source', BODY)], KNOWN, 1, undefined, store);
  assert.ok((await patiently(buffer(open(download)), 'the body')).equals(BODY));
  await delay(50);
  assert.deepEqual([lengths.length, kept.length], [1, 0]);
  goOn();
  await download.ended;
  assert.equal(kept.length, 1);
});
