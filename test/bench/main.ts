// Measures what the design promises, beside what it is compared with, and prints a line for each figure. Arguments are
// the benchmarks to run, all by default. Exit code 1 if a goal is missed, 2 if something could not be measured.
import { cold, coldLines, coldSlow } from './cold.ts';
import { connections } from './connections.ts';
import { crowd } from './crowd.ts';
import { type Benchmark, format } from './figure.ts';
import { firstByte } from './first-byte.ts';
import { hits } from './hits.ts';
import { lookup } from './lookup.ts';
import { memory } from './memory.ts';
import { scale } from './scale.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  ...{ connections, crowd, 'first-byte': firstByte },
  ...{ lookup, hits, memory, scale },
  ...{ cold, 'cold-slow': coldSlow, 'cold-lines': coldLines },
};

/** What a benchmark has started; ended after it, and when the program is interrupted. */
let cleanups: (() => Promise<void>)[] = [];

async function cleanUp(): Promise<void> {
  const all = cleanups;
  cleanups = [];
  for (const cleanup of all.reverse()) await cleanup();
}

async function run(benchmark: Benchmark): Promise<boolean> {
  try {
    const figures = await benchmark({ after: (cleanup) => void cleanups.push(cleanup) });
    for (const figure of figures) console.log(format(figure));
    return figures.every(({ goal }) => goal?.reached !== false);
  } finally {
    await cleanUp();
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(2)));
}

const names = process.argv.slice(2);
const unknown = names.filter((name) => BENCHMARKS[name] === undefined);
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(', ')}; there are ${Object.keys(BENCHMARKS).join(', ')}`);
  process.exit(2);
}
for (const [name, benchmark] of Object.entries(BENCHMARKS)) {
  if (names.length > 0 && !names.includes(name)) continue;
  try {
    if (!(await run(benchmark))) process.exitCode ??= 1;
  } catch (error) {
    console.error(`${name}: could not be measured:`, error);
    process.exitCode = 2;
  }
}
