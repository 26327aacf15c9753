import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pieces } from '../../lib/download/pieces.ts';
import { isCacheError } from '../../lib/errors.ts';
import type { Spool } from '../../lib/store/scratch.ts';
import { noise } from '../fixtures/nar.ts';

/** A spool of these bytes that counts its reads. */
function spoolOf(bytes: Buffer): { spool: Spool; reads: () => number } {
  let reads = 0;
  const read = async (buffer: Uint8Array, offset: number) => {
    reads++;
    return bytes.copy(buffer, 0, offset);
  };
  return { spool: { read } as Spool, reads: () => reads };
}

test('readers at the same place read from the disk once', async () => {
  const bytes = noise(1000, 'pieces');
  const { spool, reads } = spoolOf(bytes);
  const pieces = new Pieces();
  const all = await Promise.all(Array.from({ length: 50 }, () => pieces.read(spool, 100, 600)));
  for (const { bytes: piece } of all) assert.deepEqual(piece, bytes.subarray(100, 600));
  assert.equal(reads(), 1);
});

test('a reader gets nothing from its end on, whoever has read further', async () => {
  const bytes = noise(1000, 'pieces');
  const { spool } = spoolOf(bytes);
  const pieces = new Pieces();
  await pieces.read(spool, 0, 1000);
  assert.deepEqual((await pieces.read(spool, 0, 10)).bytes, bytes.subarray(0, 10));
});

test('a read that failed is tried again by the next reader', async () => {
  const pieces = new Pieces();
  const short = spoolOf(Buffer.alloc(0)).spool;
  await assert.rejects(pieces.read(short, 0, 10), (error) => isCacheError(error, 'storage'));
  assert.equal((await pieces.read(spoolOf(noise(10, 'pieces')).spool, 0, 10)).bytes.length, 10);
});
