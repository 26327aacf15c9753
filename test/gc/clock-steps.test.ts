import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClockSteps } from '../../lib/gc/clock-steps.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const YEAR = 365 * 24 * HOUR;
const START = 1_700_000_000_000;

/** Clocks that the test moves; `passes` lets time pass, looking every ten seconds. */
function clocks() {
  const at = { wall: START, steady: 5 };
  const steps = new ClockSteps(
    HOUR,
    () => at.wall,
    () => at.steady,
  );
  const passes = (ms: number) => {
    for (let left = ms; left > 0; left -= 10_000) {
      const step = Math.min(left, 10_000);
      at.wall += step;
      at.steady += step;
      steps.look();
    }
  };
  const isKept = (ms: number) => steps.stretches().some(({ fromMs, toMs }) => fromMs <= ms && ms <= toMs);
  return { at, steps, passes, isKept };
}

test('for the first hour, and no longer, times of the future count as lately', () => {
  const { at, isKept, passes } = clocks();
  assert.ok(isKept(START + YEAR));
  assert.ok(!isKept(START - 1));
  passes(2 * HOUR);
  assert.ok(!isKept(at.wall + YEAR));
});

test('a step is noticed once; what was used in the hour before it is kept until it is older than that', () => {
  for (const step of [YEAR, -YEAR]) {
    const { at, isKept, passes, steps } = clocks();
    passes(5 * HOUR);
    const before = at.wall;
    at.wall += step;
    assert.equal(steps.look(), true);
    assert.equal(steps.look(), false);
    assert.ok(isKept(before - 59 * MINUTE));
    assert.ok(!isKept(before - 61 * MINUTE));
    passes(30 * MINUTE);
    assert.ok(isKept(before - 29 * MINUTE));
    assert.ok(!isKept(before - 31 * MINUTE));
    passes(31 * MINUTE);
    assert.ok(!isKept(before));
  }
});

test('there and back again: times of both clocks are kept', () => {
  const { at, isKept, passes } = clocks();
  passes(5 * HOUR);
  const before = at.wall;
  at.wall += YEAR;
  passes(10 * MINUTE);
  at.wall -= YEAR;
  passes(10 * MINUTE);
  assert.ok(isKept(before - 30 * MINUTE));
  assert.ok(isKept(before + YEAR + 5 * MINUTE));
  assert.ok(!isKept(before + YEAR + 15 * MINUTE));
});

test('what a slow clock loses is no step', () => {
  const { at, steps, passes } = clocks();
  for (let i = 0; i < 24; i++) {
    passes(HOUR);
    at.wall -= 500;
    assert.equal(steps.look(), false);
  }
});
