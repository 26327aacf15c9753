import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Exclusive } from '../../lib/sync/exclusive.ts';

test('one at a time under a key, in order, whatever became of the one before', async () => {
  const exclusive = new Exclusive();
  const events: string[] = [];
  const work =
    (name: string, fails = false) =>
    async () => {
      events.push(`${name} begins`);
      await new Promise(setImmediate);
      events.push(`${name} ends`);
      if (fails) throw new Error(name);
      return name;
    };
  const all = [
    exclusive.run('k', work('a')),
    exclusive.run('k', work('b', true)),
    exclusive.run('k', work('c')),
  ];
  const other = exclusive.run('other', work('x'));
  const outcomes = await Promise.allSettled(all);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.equal(await other, 'x');
  const ours = events.filter((event) => !event.startsWith('x'));
  assert.deepEqual(ours, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});
