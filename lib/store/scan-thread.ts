// The thread that looks at all files of a folder while the service answers: its reads wait for the disk without anybody else
// waiting for them. What it finds goes back in batches, each fetched when the one before has been dealt with.
import { statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { describe } from '../errors.ts';
import { Catalogue } from './catalogue.ts';
import { folderFiles, readFacts } from './facts.ts';
import { type Limits, planRemovals } from './plan.ts';
import type { Reply, Task } from './scan.ts';

const BATCH = 5000;

function* run({ folder, storeDir, expected, plan }: Task): Generator<Reply> {
  if (plan === undefined) {
    yield { kind: 'totals', ...totals(folder) };
    return;
  }
  const { units, ...summary } = planRemovals(catalogueOf(folder, storeDir, expected), limitsOf(plan));
  yield { kind: 'summary', ...summary };
  let batch = [];
  for (const unit of units) {
    batch.push(unit);
    if (batch.length < BATCH) continue;
    yield { kind: 'units', units: batch };
    batch = [];
  }
  yield { kind: 'units', units: batch };
}

function limitsOf(plan: NonNullable<Task['plan']>): Limits {
  return { ...plan, pinned: new Set(plan.pinned) };
}

function totals(folder: string): { objects: number; bytes: number } {
  let objects = 0;
  let bytes = 0;
  for (const { file } of folderFiles(folder)) {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats?.isFile() !== true) continue;
    objects++;
    bytes += stats.size;
  }
  return { objects, bytes };
}

export function catalogueOf(folder: string, storeDir: string, expected: number): Catalogue {
  const catalogue = new Catalogue(expected);
  for (const file of folderFiles(folder)) {
    const facts = readFacts(file, storeDir);
    if (facts !== undefined) catalogue.add(file.id, file.flat, facts);
  }
  return catalogue;
}

const port = parentPort;
if (port !== null) {
  const replies = run(workerData as Task);
  port.on('message', () => {
    try {
      const next = replies.next();
      if (next.done) port.close();
      else port.postMessage(next.value);
    } catch (error) {
      port.postMessage({ kind: 'failed', reason: describe(error) } satisfies Reply);
      port.close();
    }
  });
}
