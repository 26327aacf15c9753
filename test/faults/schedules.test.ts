// Random schedules of faults, a few hundred of them, each drawn from its seed. A round that fails says its seed and all
// that happened: `SEED=<seed> node --test <this file>` runs that round alone, `SEEDS=<first>-<last>` others than these.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OpenThings, openedSince, openThings } from '../fixtures/open-things.ts';
import { runRound } from '../fixtures/round.ts';

const { SEED, SEEDS = SEED === undefined ? '1-300' : `${SEED}-${SEED}` } = process.env;
const [FIRST = 1, LAST = FIRST] = SEEDS.split('-').map(Number);
/** Rounds at once: most of a round is waiting. */
const AT_ONCE = 6;
/** Rounds in one test. */
const BATCH = 50;

async function runRounds(first: number, last: number): Promise<void> {
  let next = first;
  const failures: string[] = [];
  const work = async (): Promise<void> => {
    while (next <= last) await runRound(next++).catch((error) => failures.push(error.message));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  assert.equal(failures.length, 0, failures.join('\n\n'));
}

let before: OpenThings;

test('one round of random faults', async () => {
  await runRounds(FIRST, FIRST);
  // What a process opens at its first round, it keeps.
  before = openThings();
});

for (let first = FIRST + 1; first <= LAST; first += BATCH) {
  const last = Math.min(first + BATCH - 1, LAST);
  test(`random faults, seeds ${first} to ${last}`, () => runRounds(first, last));
}

test('random faults leave nothing open', async () => {
  assert.deepEqual(await openedSince(before), []);
});
