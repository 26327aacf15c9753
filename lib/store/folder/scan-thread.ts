// The thread that looks at all files of a folder, and removes some, while the service answers: nobody else waits for the disk
// when it does. What it finds goes back in batches, each fetched when the one before has been dealt with.
import { type Stats, statSync, utimesSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { isUnreadable } from '../../disk/files.ts';
import { describe, isErrno } from '../../errors.ts';
import { Catalogue } from '../catalogue.ts';
import { astray, type Limits, planRemovals, type Unit } from '../plan.ts';
import { readFacts, readReferences } from './facts.ts';
import { barePlaceOf, fileAt, isBare, placeOf } from './files.ts';
import { NoteWriter, noteFile } from './learning.ts';
import { putBackLeft, removeUnits } from './removal.ts';
import type { Reply, Task } from './scan.ts';
import { breathing, sleep, walkFolderSync } from './walk.ts';

const BATCH = 5000;
const BREATH_FILES = 100;

function* run({ folder, storeDir, expected, notes, plan, remove, tell }: Task): Generator<Reply> {
  if (plan === undefined) {
    yield { kind: 'totals', ...totals(folder) };
    return;
  }
  if (remove) putBackLeft(folder);
  const unreadable: string[] = [];
  const writer = notes === undefined ? undefined : new NoteWriter(notes);
  const { catalogue, isNoted } = catalogueOf(folder, storeDir, expected, { unreadable, writer });
  if (writer !== undefined) yield { kind: 'noted', whole: isNoted && writer.flush() };
  const limits = limitsOf(plan);
  const [first] = unreadable;
  if (first !== undefined) {
    yield { kind: 'unreadable', objects: unreadable.length, first };
    // An unreadable object may be a narinfo, so a pushed NAR that seems unnamed may be named after all.
    limits.orphanBeforeMs = Number.NEGATIVE_INFINITY;
  }
  let looked = 0;
  const { units, ...summary } = planRemovals(catalogue, limits, (row) => {
    if (++looked % BREATH_FILES === 0) sleep(1);
    return readReferences({ file: fileAt(folder, catalogue.place(row)) }, storeDir);
  });
  yield { kind: 'summary', ...summary };
  const staying = new Set<string>();
  for (const batch of batches(units)) {
    if (tell) yield { kind: 'units', units: batch };
    if (remove) yield { kind: 'removed', ...removeUnits(folder, batch, staying) };
  }
  if (remove) redate(catalogue, folder, limits);
}

/** From now on they get old like others. */
function redate(catalogue: Catalogue, folder: string, limits: Limits): void {
  for (const { meansMs, row } of astray(catalogue, limits)) {
    const file = fileAt(folder, catalogue.place(row));
    // Objects that were used meanwhile stay.
    if (statSync(file, { throwIfNoEntry: false })?.mtimeMs !== catalogue.usedMs(row)) continue;
    const seconds = meansMs / 1000;
    try {
      utimesSync(file, seconds, seconds);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
}

function* batches(units: Iterable<Unit>): Generator<Unit[]> {
  let batch: Unit[] = [];
  for (const unit of units) {
    batch.push(unit);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}

function limitsOf(plan: NonNullable<Task['plan']>): Limits & { orphanBeforeMs: number } {
  return { ...plan, pinned: new Set(plan.pinned) };
}

function totals(folder: string): { objects: number; bytes: number } {
  let objects = 0;
  let bytes = 0;
  for (const { file } of walkFolderSync(folder)) {
    const stats = statsOf(file);
    if (stats?.isFile() !== true) continue;
    objects++;
    bytes += stats.size;
  }
  return { objects, bytes };
}

function statsOf(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

/** What can't be read is left out, and said in `unreadable`. */
function catalogueOf(
  folder: string,
  storeDir: string,
  expected: number,
  { unreadable, writer }: { readonly unreadable: string[]; readonly writer: NoteWriter | undefined },
): { readonly catalogue: Catalogue; readonly isNoted: boolean } {
  const catalogue = new Catalogue(expected, (id, bare) => (bare ? barePlaceOf(id) : placeOf(id)));
  let isStray = false;
  for (const file of breathing(walkFolderSync(folder), BREATH_FILES)) {
    const facts = readFacts(file, storeDir, (why) => unreadable.push(why));
    if (facts === undefined) continue;
    catalogue.add(file.id, isBare(file.place), facts);
    if (writer !== undefined) isStray = !noteFile(writer, file, facts) || isStray;
  }
  // What can't be read may name a NAR.
  return { catalogue, isNoted: !isStray && unreadable.length === 0 };
}

const port = parentPort;
if (port !== null) {
  // On Linux this sets the priority of this thread alone; elsewhere it may be refused, or hold for the whole process.
  if (process.platform === 'linux') setPriority(constants.priority.PRIORITY_LOW);
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
  port.postMessage({ kind: 'ready' } satisfies Reply);
}
