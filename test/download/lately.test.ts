import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lately } from '../../lib/download/lately.ts';

test('a name is remembered for its time, which begins anew when it happens again', () => {
  let now = 5;
  const lately = new Lately(() => now, 100);
  lately.add('a');
  now += 99;
  assert.ok(lately.has('a') && !lately.has('b'));
  lately.add('a');
  now += 99;
  assert.ok(lately.has('a'));
  now += 1;
  assert.ok(!lately.has('a'));
});

test('no more are remembered than so many, and the newest are', () => {
  const lately = new Lately(() => 0, 1, 2);
  for (const name of ['a', 'b', 'a', 'c']) lately.add(name);
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => lately.has(name)),
    [true, false, true],
  );
});
