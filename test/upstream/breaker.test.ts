import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError } from '../../lib/errors.ts';
import { createLog } from '../../lib/log.ts';
import { type Breaker, Breakers } from '../../lib/upstream/breaker.ts';

const ERROR = new CacheError('upstream', 'connection refused');

function setUp() {
  const clock = { now: 0 };
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line.replace(/^\S+ /, '').trimEnd()));
  const breakers = new Breakers(log, () => clock.now);
  return { clock, lines, breakers, breaker: breakers.of('upstream https://a') };
}

function fail(breaker: Breaker, times: number): void {
  for (let i = 0; i < times; i++) breaker.failed(ERROR);
}

test('three failures in a row open it, and a success in between starts the count again', () => {
  const { breaker } = setUp();
  fail(breaker, 2);
  breaker.succeeded();
  fail(breaker, 2);
  assert.equal(breaker.open, false);
  fail(breaker, 1);
  assert.equal(breaker.open, true);
  assert.equal(breaker.why, ERROR);
  assert.equal(breaker.opened, 1);
});

test('the time between two looks doubles from a second to a minute', () => {
  const { breaker, clock } = setUp();
  fail(breaker, 3);
  const waits: number[] = [];
  for (let round = 0; round < 9; round++) {
    const from = clock.now;
    assert.equal(breaker.due, false);
    while (!breaker.due) clock.now += 500;
    waits.push(clock.now - from);
    fail(breaker, 1);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
});

test('failures of requests that were sent before it opened are no news', () => {
  const { breaker, clock } = setUp();
  fail(breaker, 25);
  clock.now = 1000;
  assert.equal(breaker.due, true);
  assert.equal(breaker.opened, 1);
});

test('a success closes it on probation: the next failure opens it for longer, the next success clears it', () => {
  const { breaker, clock } = setUp();
  fail(breaker, 3);
  clock.now = 1000;
  breaker.succeeded();
  assert.equal(breaker.open, false);
  fail(breaker, 1);
  assert.equal(breaker.open, true);
  clock.now += 1999;
  assert.equal(breaker.due, false);
  clock.now += 1;
  assert.equal(breaker.due, true);
  breaker.succeeded();
  breaker.succeeded();
  fail(breaker, 2);
  assert.equal(breaker.open, false);
  fail(breaker, 1);
  clock.now += 1000;
  assert.equal(breaker.due, true);
});

test('every change of state is one line that names it, and nothing else is a line', () => {
  const { breaker, clock, lines } = setUp();
  fail(breaker, 10);
  clock.now = 1000;
  fail(breaker, 10);
  clock.now = 5000;
  breaker.succeeded();
  breaker.succeeded();
  assert.deepEqual(lines, [
    'warn upstream https://a: believed dead and not asked for 1000 ms: connection refused',
    'info upstream https://a: alive again',
  ]);
});

test('whoever has the same name shares a breaker', () => {
  const { breaker, breakers } = setUp();
  assert.equal(breakers.of('upstream https://a'), breaker);
  assert.notEqual(breakers.of('upstream https://b'), breaker);
});
