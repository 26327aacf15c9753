import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Misses } from '../../lib/upstream/misses.ts';

test('a miss is remembered for its time, or until it is forgotten', () => {
  let now = 0;
  const misses = new Misses(() => now);
  misses.add('/a', 100);
  misses.add('/b', 50);
  misses.add('/c', 0);
  assert.deepEqual(
    ['/a', '/b', '/c', '/d'].map((path) => misses.has(path)),
    [true, true, false, false],
  );
  now = 50;
  assert.deepEqual([misses.has('/a'), misses.has('/b')], [true, false]);
  misses.add('/a', 100);
  now = 149;
  assert.equal(misses.has('/a'), true);
  misses.forget('/a');
  assert.equal(misses.has('/a'), false);
});

test('no more than so many are remembered, and the oldest go first', () => {
  const misses = new Misses(() => 0, 3);
  for (const path of ['/a', '/b', '/c', '/a', '/d']) misses.add(path, 1000);
  assert.deepEqual(
    ['/a', '/b', '/c', '/d'].map((path) => misses.has(path)),
    [true, false, true, true],
  );
});
