import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Throttle } from '../../lib/upstream/throttle.ts';
import { handClock } from '../fixtures/hand-clock.ts';

const never = new AbortController().signal;
const soon = () => new Promise(setImmediate);

function setUp() {
  const clock = handClock();
  const throttle = new Throttle(clock);
  return { clock, throttle, turn: (ms: number, signal = never) => throttle.turn(ms, signal) };
}

test('whoever was never refused is not held back', async () => {
  const { throttle, turn } = setUp();
  for (let i = 0; i < 100; i++) assert.ok(await turn(0));
  assert.equal(throttle.holds, false);
});

test('after a refusal nothing goes out for as long as was said, in seconds or as a date, within bounds', async () => {
  const cases: [string | undefined, number][] = [
    ['2', 2000],
    [' 2 ', 2000],
    ['0', 250],
    ['3600', 60_000],
    ['99999999999999999999', 60_000],
    [new Date(0).toUTCString(), 250],
    [new Date(Date.now() + 3_600_000).toUTCString(), 60_000],
    ['soon', 1000],
    [undefined, 1000],
  ];
  for (const [retryAfter, ms] of cases) {
    const { clock, throttle, turn } = setUp();
    throttle.refused(retryAfter);
    clock.pass(ms - 1);
    assert.equal(await turn(0), undefined, `${retryAfter}`);
    clock.pass(1);
    assert.ok(await turn(0), `${retryAfter}`);
  }
});

test('without a word of how long, it is longer each time', async () => {
  const { clock, throttle } = setUp();
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    throttle.refused(undefined);
    waits.push(throttle.leftMs);
    clock.pass(throttle.leftMs);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
});

test('whoever can wait gets a turn, one after the other, and whoever would wait too long is told at once', async () => {
  const { clock, throttle, turn } = setUp();
  throttle.refused('5');
  assert.equal(await turn(4999), undefined);
  const turns: (() => void)[] = [];
  for (let i = 0; i < 3; i++) turn(20_000).then((leave) => leave && turns.push(leave));
  await soon();
  assert.equal(turns.length, 0);
  clock.pass(5000);
  await soon();
  assert.equal(turns.length, 1);
  turns[0]?.();
  turns[0]?.();
  await soon();
  assert.equal(turns.length, 2);
});

test('a turn that does not come is given up after the time, and when it is no longer wanted', async () => {
  const { clock, throttle, turn } = setUp();
  throttle.refused('1');
  clock.pass(1000);
  assert.ok(await turn(0));
  const late = turn(500);
  const gone = new AbortController();
  const unwanted = turn(500, gone.signal);
  gone.abort(new Error('left'));
  await assert.rejects(unwanted, /left/);
  clock.pass(500);
  assert.equal(await late, undefined);
  assert.equal(clock.timers(), 0);
});

test('each success allows a little more, until there is no bound', async () => {
  const { clock, throttle, turn } = setUp();
  throttle.refused('1');
  throttle.succeeded();
  assert.equal(throttle.holds, true, 'the success of a request sent before tells nothing');
  clock.pass(1000);
  const atOnce = async () => {
    const leaves: (() => void)[] = [];
    for (let leave = await turn(0); leave !== undefined && leaves.length < 100; leave = await turn(0))
      leaves.push(leave);
    for (const leave of leaves) leave();
    return leaves.length;
  };
  assert.equal(await atOnce(), 1);
  throttle.succeeded();
  assert.equal(await atOnce(), 2);
  throttle.succeeded();
  throttle.succeeded();
  assert.equal(await atOnce(), 3);
  for (let i = 0; i < 1000; i++) throttle.succeeded();
  assert.equal(await atOnce(), 100);
});
