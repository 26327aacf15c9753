// What came ahead is counted once when it comes and once when it is settled, and bounded until then.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unasked } from '../../lib/ahead/unasked.ts';
import type { CacheEvent } from '../../lib/events.ts';

const KEPT_MS = 10 * 60_000;

function start(most = 3, mostBytes = 100) {
  const clock = { ms: 0 };
  const events: CacheEvent[] = [];
  const emit = (event: CacheEvent) => void events.push(event);
  const unasked = new Unasked({ what: 'nar', most, mostBytes, emit, now: () => clock.ms });
  /** What was told since this was last asked. */
  const told = () =>
    events.splice(0).map((event) => {
      assert.ok(event.kind === 'ahead-fetched' || event.kind === 'ahead-settled');
      assert.equal(event.what, 'nar');
      return event.kind === 'ahead-fetched'
        ? `${event.bytes} fetched`
        : `${event.bytes} ${event.used ? 'used' : 'wasted'}`;
    });
  return { clock, told, unasked };
}

test('what is asked for is used, once', () => {
  const { told, unasked } = start();
  unasked.add('a', 10, false);
  assert.deepEqual([unasked.count, unasked.bytes, unasked.has('a')], [1, 10, true]);
  unasked.asked('a');
  unasked.asked('a');
  unasked.asked('b');
  assert.deepEqual([unasked.count, unasked.bytes, unasked.has('a')], [0, 0, false]);
  unasked.add('b', 20, true);
  assert.deepEqual([unasked.count, unasked.bytes], [0, 0], 'somebody has asked for it already');
  assert.deepEqual(told(), ['10 fetched', '10 used', '20 fetched', '20 used']);
});

test('what comes again was in vain the first time', () => {
  const { told, unasked } = start();
  unasked.add('a', 10, false);
  unasked.add('a', 11, false);
  assert.deepEqual([unasked.count, unasked.bytes], [1, 11]);
  assert.deepEqual(told(), ['10 fetched', '11 fetched', '10 wasted']);
});

test('there is an end to it, in number and in bytes, with what is still on its way', () => {
  const { unasked } = start();
  assert.ok(!unasked.isFull(2, 99));
  assert.ok(unasked.isFull(3, 0));
  assert.ok(unasked.isFull(0, 100));
  unasked.add('a', 40, false);
  unasked.add('b', 40, false);
  assert.ok(!unasked.isFull(0, 19));
  assert.ok(unasked.isFull(1, 0));
  assert.ok(unasked.isFull(0, 20));
  unasked.asked('a');
  assert.ok(!unasked.isFull(1, 20));
});

test('what nobody has come for in ten minutes is given up', () => {
  const { clock, told, unasked } = start();
  unasked.add('a', 10, false);
  clock.ms += 1;
  unasked.add('b', 20, false);
  clock.ms += KEPT_MS - 1;
  assert.ok(!unasked.isFull());
  assert.deepEqual([unasked.has('a'), unasked.has('b')], [false, true]);
  clock.ms += 1;
  assert.ok(!unasked.isFull());
  assert.deepEqual(told(), ['10 fetched', '20 fetched', '10 wasted', '20 wasted']);
});
