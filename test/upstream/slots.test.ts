import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots } from '../../lib/upstream/slots.ts';

const never = new AbortController().signal;

test('no more hold a slot than there are, and the others follow in order', async () => {
  const slots = new Slots(2);
  const order: number[] = [];
  const releases: (() => void)[] = [];
  const all = [0, 1, 2, 3].map(async (n) => {
    releases[n] = await slots.acquire(never);
    order.push(n);
  });
  await Promise.all(all.slice(0, 2));
  assert.deepEqual(order, [0, 1]);
  releases[1]?.();
  releases[1]?.();
  await all[2];
  assert.deepEqual(order, [0, 1, 2], 'a slot given back twice counts once');
  releases[0]?.();
  await all[3];
  assert.deepEqual(order, [0, 1, 2, 3]);
});

test('who stops waiting leaves the queue', async () => {
  const slots = new Slots(1);
  const release = await slots.acquire(never);
  const gone = new AbortController();
  const waiting = slots.acquire(gone.signal);
  const next = slots.acquire(never);
  gone.abort(new Error('gone'));
  await assert.rejects(waiting, /gone/);
  release();
  (await next)();
  await assert.rejects(slots.acquire(gone.signal), /gone/);
});
