import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { UnderWay } from '../../lib/sync/under-way.ts';

test('idle at once where nothing is under way', async () => {
  const things = new UnderWay();
  await things.idle();
  things.begin();
  things.end();
  await things.idle();
});

test('whoever waits, however many they are, waits until the last has ended', async () => {
  const things = new UnderWay();
  things.begin();
  things.begin();
  let woken = 0;
  const waiting = [things.idle(), things.idle()].map((one) => one.then(() => woken++));
  things.end();
  await immediate();
  assert.equal(woken, 0);
  things.end();
  await Promise.all(waiting);
  things.begin();
  const again = things.idle();
  things.end();
  await again;
});
