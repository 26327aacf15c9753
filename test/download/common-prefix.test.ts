import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commonPrefix } from '../../lib/download/common-prefix.ts';

const LENGTH = 600_000;
const BYTES = Buffer.alloc(LENGTH, 'some text that is long enough ');

/** Gives at most so many bytes at a time, as disks may. */
const inPieces = (bytes: Buffer, most = LENGTH) => ({
  read: async (buffer: Uint8Array, at: number) => bytes.copy(buffer, 0, at, at + most),
});

function wrongAt(at: number): Buffer {
  const bytes = Buffer.from(BYTES);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  return bytes;
}

test('as many bytes as are the same, wherever the first other one is', async () => {
  for (const at of [0, 1, 262_143, 262_144, 262_145, 599_999])
    for (const most of [LENGTH, 100_000])
      assert.equal(await commonPrefix(inPieces(BYTES, most), inPieces(wrongAt(at)), LENGTH), at, `${at}`);
});

test('no more than was asked for, and no more than is there', async () => {
  const whole = inPieces(BYTES);
  assert.equal(await commonPrefix(whole, inPieces(BYTES), LENGTH), LENGTH);
  assert.equal(await commonPrefix(whole, inPieces(wrongAt(500)), 500), 500);
  assert.equal(await commonPrefix(inPieces(BYTES.subarray(0, 300_000)), whole, LENGTH), 300_000);
  assert.equal(await commonPrefix(whole, inPieces(BYTES.subarray(0, 300_000)), LENGTH), 300_000);
  const zeroes = Buffer.alloc(LENGTH);
  assert.equal(await commonPrefix(inPieces(zeroes), inPieces(zeroes.subarray(0, 300_000)), LENGTH), 300_000);
});
