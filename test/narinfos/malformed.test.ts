import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Malformed } from '../../lib/narinfos/malformed.ts';

test('what is malformed again after seconds is so for good, until it comes as it should or long after', () => {
  let now = 5;
  const malformed = new Malformed(() => now);
  assert.equal(malformed.again('a'), false);
  now += 1999;
  assert.equal(malformed.again('a'), false);
  now += 1;
  assert.deepEqual([malformed.again('a'), malformed.again('b')], [true, false]);
  malformed.forget('a');
  assert.equal(malformed.again('a'), false);
  now += 10 * 60_000 + 1;
  assert.equal(malformed.again('a'), false);
});

test('no more are remembered than ten thousand', () => {
  let now = 0;
  const malformed = new Malformed(() => now);
  for (let i = 0; i <= 10_000; i++) malformed.again(`${i}`);
  now += 5000;
  assert.equal(malformed.again('0'), false);
});
