import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slots } from '../../lib/sync/slots.ts';

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

test('who weighs more waits for as much, and is not overtaken; more than there is means all of it', async () => {
  const room = new Slots(10);
  const order: string[] = [];
  const enter = async (name: string, weight: number) => {
    const leave = await room.acquire(never, weight);
    order.push(name);
    return leave;
  };
  const first = await enter('first', 6);
  const heavy = enter('heavy', 1000);
  const light = enter('light', 1);
  assert.deepEqual(order, ['first']);
  first();
  const leaveHeavy = await heavy;
  assert.deepEqual(order, ['first', 'heavy'], 'all of it is taken');
  leaveHeavy();
  (await light)();
  assert.deepEqual(order, ['first', 'heavy', 'light']);
});

test('a heavy one that stops waiting lets those behind it in', async () => {
  const room = new Slots(10);
  const leave = await room.acquire(never, 6);
  const gone = new AbortController();
  const heavy = room.acquire(gone.signal, 9);
  const light = room.acquire(never, 4);
  gone.abort(new Error('gone'));
  await assert.rejects(heavy, /gone/);
  (await light)();
  leave();
});

test('who has a slot and then aborts pushes nobody out of the queue', async () => {
  const slots = new Slots(1);
  const gone = new AbortController();
  const leave = await slots.acquire(never);
  const second = slots.acquire(gone.signal);
  leave();
  const leaveSecond = await second;
  const third = slots.acquire(never);
  gone.abort();
  leaveSecond();
  (await third)();
});

test('who is heavy among a few is as heavy among all', async () => {
  const all = new Slots(10);
  const leave = await new Slots(10, all).acquire(never, 9);
  const gone = new AbortController();
  const waiting = new Slots(10, all).acquire(gone.signal, 2);
  gone.abort(new Error('gone'));
  await assert.rejects(waiting, /gone/);
  leave();
});
