import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Audience } from '../../lib/download/audience.ts';
import { isCacheError } from '../../lib/errors.ts';
import { stopClock } from '../fixtures/clock.ts';

const GRACE_MS = 1000;

function setUp() {
  const stopping = new AbortController();
  const audience = new Audience(GRACE_MS, stopping.signal);
  return { audience, stopping, over: () => audience.signal.aborted };
}

test('it is given up when all have left and it has had its time, in either order', (t) => {
  const clock = stopClock(t);
  const { audience, over } = setUp();
  const [a, b] = [new AbortController(), new AbortController()];
  audience.join(a.signal);
  audience.join(b.signal);
  a.abort();
  clock.move(GRACE_MS);
  assert.equal(over(), false, 'one is left');
  b.abort();
  assert.equal(over(), true);
  assert.ok(isCacheError(audience.signal.reason, 'aborted'));

  const early = setUp();
  early.audience.join(AbortSignal.abort());
  assert.equal(early.over(), false);
  clock.move(GRACE_MS);
  assert.equal(early.over(), true);
});

test('whoever does not say when they leave stays, and whoever comes within the time keeps it going', (t) => {
  const clock = stopClock(t);
  const { audience, over } = setUp();
  audience.join(AbortSignal.abort());
  const leave = audience.join(undefined);
  clock.move(100 * GRACE_MS);
  assert.equal(over(), false);
  leave();
  leave();
  assert.equal(over(), true);
});

test('once the answer is there nothing gives it up any more but a stop, which it does not hear of either', (t) => {
  const clock = stopClock(t);
  const { audience, over, stopping } = setUp();
  const gone = new AbortController();
  audience.join(gone.signal)();
  audience.end();
  gone.abort();
  clock.move(100 * GRACE_MS);
  stopping.abort();
  assert.equal(over(), false);
});

test('a stop gives it up', () => {
  const { audience, over, stopping } = setUp();
  audience.join(undefined);
  stopping.abort(new Error('stopping'));
  assert.equal(over(), true);
  audience.end();
});
