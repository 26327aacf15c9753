import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Until } from '../../lib/sync/until.ts';

test('a name is remembered for its time, which begins anew when it is set again', () => {
  let now = 5;
  const names = new Until(() => now, 100);
  names.add('a');
  now += 99;
  assert.ok(names.has('a') && !names.has('b'));
  names.add('a');
  now += 99;
  assert.ok(names.has('a'));
  now += 1;
  assert.ok(!names.has('a'));
});

test('each may have a value and a time of its own, and can be forgotten before that', () => {
  let now = 0;
  const values = new Until<string>(() => now, 100);
  values.set('a', 'usual');
  values.set('b', 'short', 50);
  values.set('c', 'never', 0);
  now = 50;
  assert.deepEqual([values.get('a'), values.get('b'), values.get('c')], ['usual', undefined, undefined]);
  values.set('a', 'no more', -1);
  assert.equal(values.get('a'), undefined, 'no time at all ends what was remembered');
  values.set('a', 'again');
  values.set('a', 'otherwise');
  assert.equal(values.get('a'), 'otherwise');
  values.forget('a');
  assert.equal(values.has('a'), false);
});

test('no more are remembered than so many, and the one that was set longest ago goes first', () => {
  const names = new Until(() => 0, 1, 2);
  for (const name of ['a', 'b', 'a', 'c']) names.add(name);
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => names.has(name)),
    [true, false, true],
  );
  const many = new Until(() => 0, 1);
  for (let i = 0; i <= 10_000; i++) many.add(`${i}`);
  assert.deepEqual([many.has('0'), many.has('1')], [false, true]);
});
