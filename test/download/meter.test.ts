import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Meter } from '../../lib/download/meter.ts';
import { SourceState } from '../../lib/download/sources.ts';
import type { Incoming } from '../../lib/upstream/body.ts';
import { stopClock } from '../fixtures/clock.ts';
import { fakeSource } from '../fixtures/fake-source.ts';

function start(undone?: string) {
  const source = fakeSource('source', Buffer.alloc(0));
  const told: number[] = [];
  const answer = { body: { received: 0 } as Incoming & { received: number }, undone };
  const meter = new Meter(new SourceState(source), answer, (pace) => told.push(pace));
  const { coding, pace } = source.upstream;
  return { meter, told, pace, coding, answer };
}

test('the pace of an answer is that of all it has sent, told with every piece', (t) => {
  const clock = stopClock(t);
  const { meter, told } = start();
  for (const [ms, bytes] of [
    [10, 1000],
    [30, 1000],
    [60, 0],
  ] as const) {
    clock.move(ms);
    meter.note(bytes);
  }
  assert.deepEqual(told, [100, 50, 20]);
  assert.equal(meter.pace, 20);
});

test('bytes that come at once have no infinite pace', (t) => {
  stopClock(t);
  const { meter, told, pace } = start();
  meter.note(5000);
  meter.end();
  assert.deepEqual([told, pace.bytesPerMs], [[5000], 5000]);
});

test('how fast it is now is told of five seconds each, and not before they are over', (t) => {
  const clock = stopClock(t);
  const { meter } = start();
  const told: (number | undefined)[] = [];
  for (const [ms, bytes] of [
    [4999, 10_000],
    [1, 10_000],
    [4999, 500],
    [1, 500],
    [10_000, 10_000],
  ] as const) {
    clock.move(ms);
    meter.note(bytes);
    told.push(meter.lately);
  }
  assert.deepEqual(told, [undefined, 4, 4, 0.2, 1]);
});

test('the upstream is told four times a second, while the answer runs', (t) => {
  const clock = stopClock(t);
  const { meter, pace } = start();
  clock.move(249);
  meter.note(1000);
  assert.equal(pace.bytesPerMs, undefined);
  clock.move(1);
  meter.note(1000);
  assert.equal(pace.bytesPerMs, 8);
  clock.move(249);
  meter.note(100_000);
  assert.equal(pace.bytesPerMs, 8);
});

test('each time, and at the end, with what has come since the last, and once', (t) => {
  const clock = stopClock(t);
  const { meter, pace } = start();
  const noted: [bytes: number, ms: number][] = [];
  pace.note = (bytes, ms) => noted.push([bytes, ms]);
  for (const [ms, bytes] of [
    [250, 100],
    [100, 20],
    [200, 30],
    [40, 4],
  ] as const) {
    clock.move(ms);
    meter.note(bytes);
  }
  meter.end();
  assert.deepEqual(noted, [
    [100, 250],
    [50, 300],
    [4, 40],
  ]);
});

test('what a coded answer is decoded to is no pace of parts, and is told once there is enough to tell', (t) => {
  const clock = stopClock(t);
  const { answer, coding, meter, pace } = start('gzip');
  const noted: object[] = [];
  coding.note = (one) => noted.push(one);
  for (const [ms, bytes, received] of [
    [250, 100_000, 10_000],
    [250, 500_000, 70_000],
    [100, 50_000, 75_000],
  ] as const) {
    clock.move(ms);
    answer.body.received = received;
    meter.note(bytes);
  }
  meter.end();
  assert.deepEqual(noted, [
    { bytes: 600_000, received: 70_000, ms: 500 },
    { bytes: 50_000, received: 5000, ms: 100 },
  ]);
  assert.equal(pace.bytesPerMs, undefined);
});
