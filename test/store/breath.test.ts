import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Breath } from '../../lib/store/breath.ts';

/** How long the pauses were, by the clock, while that many files took so long each. */
function pauses(t: TestContext, breath: () => Breath, files: number, eachMs: number): number[] {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const slept: number[] = [];
  t.mock.method(Atomics, 'wait', (_: Int32Array, __: number, ___: number, ms: number) => {
    slept.push(ms);
    now += ms;
    return 'timed-out';
  });
  const one = breath();
  for (let file = 0; file < files; file++) {
    now += eachMs;
    one.take();
  }
  t.mock.reset();
  return slept;
}

test('a pause after so many files, for a share of the time they took, but neither none nor too long', (t) => {
  assert.deepEqual(
    pauses(t, () => new Breath(20, 0.5), 60, 2),
    [20, 20, 20],
  );
  assert.deepEqual(
    pauses(t, () => new Breath(10, 1), 25, 0.01),
    [1, 1],
  );
  assert.deepEqual(
    pauses(t, () => new Breath(10, 1), 10, 1000),
    [100],
  );
});
