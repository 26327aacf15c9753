// Kills the service again and again and sees that nothing is lost: `--minutes N`, with a seed of its own or `--seed S`. Exit
// code 1, with the seed and the story, if something was.
import { parseArgs } from 'node:util';
import { runCrashes } from './run.ts';

const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } });
const minutes = Number(values.minutes ?? 1);
const seed = Number(values.seed ?? Date.now() % 1_000_000);

let cleanups: (() => Promise<void>)[] = [];

async function cleanUp(): Promise<void> {
  const all = cleanups;
  cleanups = [];
  for (const cleanup of all.reverse()) await cleanup();
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(2)));
}

if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error('expected --minutes N and --seed S, both numbers');
  process.exit(2);
}
console.log(`seed ${seed}, ${minutes} min`);
try {
  const owner = { after: (cleanup: () => Promise<void>) => void cleanups.push(cleanup) };
  const { acknowledged, lives, removed } = await runCrashes(owner, seed, minutes * 60_000);
  console.log(`${lives} kills, ${acknowledged} packages acknowledged and there, ${removed} removed and gone`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
process.exit();
