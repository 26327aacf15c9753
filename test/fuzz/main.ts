// Attacks the parsers and the running service with random input: `npm run fuzz -- --seconds N [--seed S]`. Prints what fails
// with its seed, which as `--seed` repeats it first, and ends with exit code 1 then; with 2 if it could not be run.
import { parseArgs } from 'node:util';
import { attack, parsers } from '../fixtures/parsers.ts';
import { randomSource } from '../fixtures/random.ts';
import { startFuzzedService } from './service.ts';

/** Rounds of each parser between two batches of connections. */
const ROUNDS = 40;

/** What was started; ended in reverse order. */
const cleanups: (() => Promise<void>)[] = [];

async function cleanUp(): Promise<void> {
  for (let next = cleanups.pop(); next !== undefined; next = cleanups.pop()) await next();
}

async function fuzz(seconds: number, first: number): Promise<boolean> {
  const started = performance.now();
  const service = await startFuzzedService({ after: (cleanup) => void cleanups.push(cleanup) }, first);
  let seed = first;
  let rounds = 0;
  try {
    for (; performance.now() - started < seconds * 1000; seed++) {
      for (const parser of parsers) {
        const random = randomSource(seed);
        for (let round = 0; round < ROUNDS; round++, rounds++) await attack(parser, random);
      }
      await service.batch(seed);
    }
    await service.finish();
  } catch (error) {
    console.error(`FAILED with --seed ${seed}:`, error);
    return false;
  }
  const answers = [...service.answers].toSorted().map(([status, times]) => `${status} ${times} times`);
  console.log(`${seed - first} batches of connections, answered ${answers.join(', ')}`);
  console.log(`${rounds} inputs for ${parsers.length} parsers, from seed ${first}`);
  return true;
}

function numberOf(text: string | undefined, otherwise: number): number {
  const number = text === undefined ? otherwise : Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error('usage: npm run fuzz -- [--seconds N] [--seed S]');
  process.exit(2);
}

const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
const seconds = numberOf(values.seconds, 60);
const seed = numberOf(values.seed, Date.now() % 2 ** 31);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(2)));
}
try {
  if (!(await fuzz(seconds, seed))) process.exitCode = 1;
} catch (error) {
  console.error('could not be run:', error);
  process.exitCode = 2;
} finally {
  await cleanUp();
}
