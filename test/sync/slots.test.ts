import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { Ahead } from '../../lib/sync/ahead.ts';
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

test('who is ahead takes what is idle and leaves a quarter of it, and goes when nobody else waits', async () => {
  const slots = new Slots(4);
  const order: string[] = [];
  const enter = async (name: string, ahead?: Ahead) => {
    const leave = await slots.acquire(never, 1, ahead);
    order.push(name);
    return leave;
  };
  const leaves = await Promise.all(['a1', 'a2', 'a3'].map((name) => enter(name, new Ahead())));
  const fourth = enter('a4', new Ahead());
  const fifth = enter('a5', new Ahead());
  (await enter('client'))();
  assert.deepEqual(order, ['a1', 'a2', 'a3', 'client'], 'one is left for whoever comes');
  const clients = [await enter('client'), enter('client'), enter('client')] as const;
  for (const leave of leaves) leave();
  const [, second, third] = [clients[0], await clients[1], await clients[2]];
  assert.deepEqual(order.slice(4), ['client', 'client', 'client'], 'those who wait go before');
  second();
  (await fourth)();
  third();
  (await fifth)();
  clients[0]();
});

test('who is ahead is no crowd; once somebody wants it, it waits like anybody', async () => {
  const slots = new Slots(1);
  let crowded = 0;
  slots.whenCrowded(() => crowded++);
  const order: string[] = [];
  const leave = await slots.acquire(never);
  const [one, other] = [new Ahead(), new Ahead()];
  const enter = async (name: string, ahead?: Ahead) => {
    const left = await slots.acquire(never, 1, ahead);
    order.push(name);
    left();
  };
  const all = [enter('one', one), enter('other', other)];
  assert.deepEqual([crowded, slots.isCrowded], [0, false]);
  all.push(enter('client'));
  assert.deepEqual([crowded, slots.isCrowded], [1, true]);
  other.wanted();
  await immediate();
  assert.equal(crowded, 2);
  all.push(enter('last'));
  leave();
  await Promise.all(all.slice(1));
  assert.deepEqual(order, ['client', 'other', 'last'], 'of one slot nothing is left over');
  one.wanted();
  await all[0];
  assert.deepEqual(order, ['client', 'other', 'last', 'one']);
});

test('who is ahead and waits holds nothing that others could have', async () => {
  const all = new Slots(2);
  const [one, two] = [new Slots(2, all), new Slots(2, all)];
  const leaves = [await two.acquire(never), await two.acquire(never)];
  const ahead = one.acquire(never, 1, new Ahead());
  const gone = new AbortController();
  const left = one.acquire(gone.signal, 1, new Ahead());
  const client = one.acquire(never);
  leaves[0]?.();
  const leaveClient = await client;
  gone.abort(new Error('gone'));
  await assert.rejects(left, /gone/);
  leaves[1]?.();
  leaveClient();
  (await ahead)();
  (await all.acquire(never, 2))();
});

test('who is ahead and weighs more than may be taken waits until somebody wants it, and holds up none that is lighter', async () => {
  const room = new Slots(8);
  const ahead = new Ahead();
  const heavy = room.acquire(never, 7, ahead);
  const light = await room.acquire(never, 6, new Ahead());
  ahead.wanted();
  light();
  (await heavy)();
});

test('what is idle can be had at once, or not at all', async () => {
  const slots = new Slots(4);
  const leaves = [slots.acquireIdle(), slots.acquireIdle(), slots.acquireIdle()];
  assert.equal(slots.acquireIdle(), undefined, 'one is left for whoever comes');
  leaves[0]?.();
  leaves[0]?.();
  assert.ok(slots.acquireIdle());
  assert.equal(slots.acquireIdle(), undefined, 'given back twice counts once');
});
