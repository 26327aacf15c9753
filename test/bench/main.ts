// Measures what the design promises, beside what it is compared with, and prints a line for each figure. Arguments are
// the benchmarks to run, all by default. Exit code 1 if a goal is missed, 2 if something could not be measured.
// With --short: quick ones only, which fail when a figure is below half of its goal three times.
import { coding } from './coding.ts';
import { cold, coldLines, coldProxies, coldSlow } from './cold.ts';
import { connections } from './connections.ts';
import { crowd } from './crowd.ts';
import { type Benchmark, type Figure, format, isGross, isMissed } from './figure.ts';
import { firstByte } from './first-byte.ts';
import { hits } from './hits.ts';
import { hot } from './hot.ts';
import { lookup } from './lookup.ts';
import { memory } from './memory.ts';
import { narinfos } from './narinfos.ts';
import { crowdedNars, largeNars, smallNars } from './nars.ts';
import { push } from './push.ts';
import { rss } from './rss.ts';
import { scale } from './scale.ts';
import { waste } from './waste.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  ...{ coding, connections, crowd, 'first-byte': firstByte },
  ...{ lookup, narinfos, hits, hot, memory, push, scale },
  ...{ 'small-nars': smallNars, 'large-nars': largeNars, 'crowded-nars': crowdedNars, rss },
  ...{ cold, 'cold-slow': coldSlow, 'cold-lines': coldLines, 'cold-proxies': coldProxies, waste },
};
/** What a short run consists of: those whose figures are ratios, and hold on a machine that does other things. */
const SHORT: readonly string[] = ['coding'];
const TRIES = 3;

/** What a benchmark has started; ended after it, and when the program is interrupted. */
let cleanups: (() => Promise<void>)[] = [];

async function cleanUp(): Promise<void> {
  const all = cleanups;
  cleanups = [];
  for (const cleanup of all.reverse()) await cleanup();
}

async function run(benchmark: Benchmark, short: boolean): Promise<readonly Figure[]> {
  try {
    const figures = await benchmark({ short, after: (cleanup) => void cleanups.push(cleanup) });
    for (const figure of figures) console.log(format(figure));
    return figures;
  } finally {
    await cleanUp();
  }
}

/** Whether each of its figures was well in one of a few tries: what else a machine does is over by then. */
async function runShort(benchmark: Benchmark): Promise<boolean> {
  let bad: readonly string[] | undefined;
  for (let tried = 0; tried < TRIES && bad?.length !== 0; tried++) {
    const figures = await run(benchmark, true);
    const now = figures.filter(isGross).map(({ what }) => what);
    bad = bad === undefined ? now : bad.filter((what) => now.includes(what));
  }
  for (const what of bad ?? []) console.log(`below half of its goal, ${TRIES} times: ${what}`);
  return bad?.length === 0;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(2)));
}

const args = process.argv.slice(2);
const short = args.includes('--short');
const names = args.filter((arg) => arg !== '--short');
const unknown = names.filter((name) => BENCHMARKS[name] === undefined);
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(', ')}; there are ${Object.keys(BENCHMARKS).join(', ')}`);
  process.exit(2);
}
const chosen = names.length > 0 ? names : short ? SHORT : Object.keys(BENCHMARKS);
for (const [name, benchmark] of Object.entries(BENCHMARKS)) {
  if (!chosen.includes(name)) continue;
  try {
    const good = short ? await runShort(benchmark) : !(await run(benchmark, false)).some(isMissed);
    if (!good) process.exitCode ??= 1;
  } catch (error) {
    console.error(`${name}: could not be measured:`, error);
    process.exitCode = 2;
  }
}
