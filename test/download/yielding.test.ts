import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Yielding } from '../../lib/download/yielding.ts';
import { Slots } from '../../lib/sync/slots.ts';
import { until } from '../fixtures/patience.ts';

const { signal } = new AbortController();

/** A download that holds one of the slots until it ends. */
async function holding(slots: Slots, isAbandoned: boolean) {
  const free = await slots.acquire(signal);
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const download = { isAbandoned, ended, stopped: false, stop: () => stop() };
  const stop = () => {
    download.stopped = true;
    free();
    end();
    return true;
  };
  return download;
}

test('those that nobody reads give way, the last first, and no more of them than is needed', async () => {
  const slots = new Slots(3);
  const yielding = new Yielding([slots]);
  const [read, first, last] = [
    await holding(slots, false),
    await holding(slots, true),
    await holding(slots, true),
  ];
  for (const one of [read, first, last]) yielding.add(one);
  const free = await slots.acquire(signal);
  assert.deepEqual([read.stopped, first.stopped, last.stopped], [false, false, true]);
  free();
});

test('they go on while nobody else wants anything, or when nobody waits', async () => {
  const slots = new Slots(1);
  const yielding = new Yielding([slots]);
  const one = await holding(slots, true);
  yielding.add(one);
  yielding.look();
  // One of them waits for another.
  const waiting = slots.acquire(signal);
  await new Promise((wake) => setTimeout(wake, 30));
  assert.equal(one.stopped, false);
  const began = yielding.starting();
  yielding.look();
  await until(() => one.stopped, 'it to give way to what is about to begin');
  began();
  (await waiting)();
});
