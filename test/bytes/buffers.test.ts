import assert from 'node:assert/strict';
import { test } from 'node:test';
import { giveBuffer, PIECE_BYTES, takeBuffer } from '../../lib/bytes/buffers.ts';

test('a large buffer that was given back is taken again; a small one is its own', () => {
  const large = takeBuffer(PIECE_BYTES);
  assert.equal(large.length, PIECE_BYTES);
  giveBuffer(large);
  assert.equal(takeBuffer(100_000), large);
  assert.notEqual(takeBuffer(100_000), large);
  const small = takeBuffer(1000);
  assert.equal(small.length, 1000);
  giveBuffer(small);
  assert.equal(takeBuffer(PIECE_BYTES).length, PIECE_BYTES);
});

test('no more than 64 are kept', () => {
  const given = Array.from({ length: 70 }, () => takeBuffer(PIECE_BYTES));
  for (const buffer of given) giveBuffer(buffer);
  const taken = Array.from({ length: 70 }, () => takeBuffer(PIECE_BYTES));
  assert.equal(taken.filter((buffer) => given.includes(buffer)).length, 64);
});
