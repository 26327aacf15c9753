// Takes objects out of the folder beside a service that reads and writes it, which need not know. A narinfo goes before its NAR,
// and long enough before that nobody still believes to have it. A NAR is first moved aside: whoever opened it in that
// very moment, to serve it or because a narinfo that names it is being pushed, has left a later time on it, and it is put back.
import { link, mkdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isErrno } from '../errors.ts';
import { storageError } from './files.ts';
import type { Removal, Unit } from './plan.ts';

/** A service believes a narinfo in its memory to be on disk for a second. */
const FORGOTTEN_MS = 1500;
/** How long after opening a file a service may take to note that on it. */
const NOTED_MS = 300;
/** The times of the plan and of the disk are the same but for rounding. */
const SAME_MS = 2;

export interface Removed {
  objects: number;
  bytes: number;
}

/** The folder for what is on its way out; a start puts back what is left in it. */
export function trashFolder(folder: string): string {
  return join(folder, 'trash');
}

export function fileOf(folder: string, { id, flat }: Pick<Removal, 'id' | 'flat'>): string {
  return flat ? join(folder, id) : join(folder, id.slice(0, 2), id);
}

/**
 * Removes the units, but for those that were used since they were planned; what was removed.
 * @throws CacheError `storage`, or the signal's reason
 */
export async function removeUnits(
  folder: string,
  units: readonly Unit[],
  signal: AbortSignal,
): Promise<Removed> {
  const removed = { objects: 0, bytes: 0 };
  const count = ({ bytes }: Removal) => {
    removed.objects++;
    removed.bytes += bytes;
  };
  const nars: Removal[] = [];
  for (const unit of units) {
    signal.throwIfAborted();
    if (await usedSince(folder, unit)) continue;
    for (const part of unit) {
      if (part.kind === 'nar') nars.push(part);
      else if (await tryTo(() => unlink(fileOf(folder, part)))) count(part);
    }
  }
  if (nars.length === 0) return removed;
  await delay(FORGOTTEN_MS, undefined, { signal });
  for (const nar of await moveAside(folder, nars)) {
    if (await finish(folder, nar)) count(nar);
  }
  return removed;
}

async function usedSince(folder: string, unit: Unit): Promise<boolean> {
  for (const part of unit) if (await changed(fileOf(folder, part), part.usedMs)) return true;
  return false;
}

/** Whether the file has another time; a file that is gone has not. */
async function changed(file: string, usedMs: number): Promise<boolean> {
  const stats = await stat(file).catch((error) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw storageError(`can't read ${file}`, error);
  });
  return stats !== undefined && Math.abs(stats.mtimeMs - usedMs) > SAME_MS;
}

/** Those that are in the trash now. */
async function moveAside(folder: string, nars: readonly Removal[]): Promise<Removal[]> {
  const trash = trashFolder(folder);
  await mkdir(trash, { recursive: true });
  const moved: Removal[] = [];
  for (const nar of nars) {
    const file = fileOf(folder, nar);
    if (await changed(file, nar.usedMs)) continue;
    if (await tryTo(() => rename(file, join(trash, nar.id)))) moved.push(nar);
  }
  if (moved.length > 0) await delay(NOTED_MS);
  return moved;
}

/** Deletes it, or puts it back if somebody has used it. */
async function finish(folder: string, nar: Removal): Promise<boolean> {
  const file = join(trashFolder(folder), nar.id);
  const used = await changed(file, nar.usedMs);
  if (used) await putBack(file, fileOf(folder, nar));
  return (await tryTo(() => unlink(file))) && !used;
}

/** Gives it its place again, unless another one has come there. */
export async function putBack(file: string, place: string): Promise<void> {
  await link(file, place).catch((error) => {
    if (!isErrno(error, 'EEXIST', 'ENOENT')) throw storageError(`can't put back ${place}`, error);
  });
}

/** Whether it was done; not if the file was gone. */
async function tryTo(run: () => Promise<void>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw storageError("can't remove an object", error);
  }
}
