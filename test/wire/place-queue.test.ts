// Whose turn it is when a place comes free, and who waits no more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ahead } from '../../lib/sync/ahead.ts';
import { Slots } from '../../lib/sync/slots.ts';
import type { Session } from '../../lib/wire/http2.ts';
import { PlaceQueue, type Size, type Waiting } from '../../lib/wire/place-queue.ts';

function setUp() {
  const seen: string[] = [];
  const queue = new PlaceQueue({
    entered: ({ size, ahead }) => void seen.push(`${size}${ahead?.isWanted === false ? ' ahead' : ''}`),
    left: () => void seen.push('left'),
  });
  const slots = new Slots(1);
  const wait = (size: Size, ahead?: Ahead) => {
    const stop = new AbortController();
    const got = queue.wait({ size, slots, ahead, signal: stop.signal });
    got.catch(() => {});
    return { got, stop };
  };
  /** Whose turn it would be, in order, if there were places for all. */
  const turns = () => {
    const all: Waiting[] = [];
    queue.serve((one) => void all.push(...one));
    return all.map(({ size, ahead }) => `${size}${ahead?.isWanted === false ? ' ahead' : ''}`);
  };
  return { queue, seen, turns, wait };
}

test('small ones and parts go before large ones, and what is ahead when nobody waits', () => {
  const { queue, seen, turns, wait } = setUp();
  assert.ok(queue.isEmpty);
  wait('large', new Ahead());
  wait('small', new Ahead());
  assert.deepEqual(turns(), ['small ahead', 'large ahead']);
  assert.ok(!queue.hasLarge);
  for (const size of ['large', 'part', 'small'] as const) wait(size);
  assert.deepEqual(turns(), ['small', 'part', 'large']);
  assert.ok(queue.hasLarge && !queue.isEmpty);
  assert.deepEqual(seen, ['large ahead', 'small ahead', 'large', 'part', 'small']);
});

test('what was ahead waits like any other from when somebody wants it', async () => {
  const { queue, seen, turns, wait } = setUp();
  const ahead = new Ahead();
  const { got } = wait('large', ahead);
  wait('large');
  ahead.wanted();
  assert.deepEqual(turns(), ['large', 'large']);
  assert.deepEqual(seen, ['large ahead', 'large', 'large']);
  const place = { session: {} as Session, giveBack: () => {} };
  queue.serve((one) => {
    for (const { placed } of one.splice(0)) placed(place);
  });
  assert.equal(await got, place);
  assert.ok(queue.isEmpty);
});

test('who leaves waits no more, and all can be told at once that there is nothing to wait for', async () => {
  const { queue, seen, turns, wait } = setUp();
  const [first, second] = [wait('small'), wait('small', new Ahead())];
  first.stop.abort(new Error('gone'));
  await assert.rejects(first.got, /gone/);
  assert.deepEqual(turns(), ['small ahead']);
  assert.deepEqual(seen, ['small', 'small ahead', 'left']);
  queue.clear(({ placed }) => placed(undefined));
  assert.equal(await second.got, undefined);
  second.stop.abort();
  assert.deepEqual(seen.slice(3), [], 'nobody listens any more');
  const { got } = wait('part');
  queue.clear(({ failed }) => failed(new Error('closed')));
  await assert.rejects(got, /closed/);
});
