// Takes objects out of the folder beside a service that reads and writes it, which need not know. A narinfo goes before its NAR,
// and long enough before that nobody still believes to have it. A NAR is first moved aside: whoever opened it in that
// very moment, to serve it or because a narinfo that names it is being pushed, has left a later time on it, and it is put back.
// Synchronous, for the thread that does nothing else: see scan-thread.ts.
import { readdirSync, renameSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isErrno } from '../../errors.ts';
import type { Removal, Unit } from '../plan.ts';
import { fileAt, fileInTrash, placesOf, trashFolder, trashOf } from './files.ts';
import { FRESH_MS } from './last-use.ts';
import { makeFolderInSync } from './own.ts';
import { putBackSync } from './put-back.ts';
import { breathing, sleep } from './walk.ts';

/** A service that nobody tells believes for so long that a narinfo in its memory is on the disk, and its timers are not exact. */
export const FORGOTTEN_MS = FRESH_MS + 500;
/** How long after opening a file a service may take to note that on it. */
const NOTED_MS = 300;
/** So many files at a stretch. */
const BREATH_FILES = 20;
/** The times of the plan and of the disk are the same but for rounding. */
const SAME_MS = 2;
/** Nobody takes so long from moving something aside to what becomes of it. */
const LEFT_MS = 15 * 60_000;

export interface Removed {
  objects: number;
  bytes: number;
}

/**
 * Removes the units, but for those that were used since they were planned, whose NARs are noted in `staying`: units that follow may
 * have them too. What was removed. Throws what the disk says.
 */
export function removeUnits(
  folder: string,
  units: readonly Unit[],
  staying: Set<string> = new Set(),
): Removed {
  const removed = { objects: 0, bytes: 0 };
  const count = ({ bytes }: Removal) => {
    removed.objects++;
    removed.bytes += bytes;
  };
  const nars: Removal[] = [];
  for (const unit of breathing(units, BREATH_FILES)) {
    const nar = narOf(unit);
    if (isUsed(folder, unit) || (nar !== undefined && staying.has(nar.id))) {
      if (nar !== undefined) staying.add(nar.id);
      continue;
    }
    for (const part of unit) {
      if (part.kind === 'nar') nars.push(part);
      else if (isDone(() => unlinkSync(fileAt(folder, part.place)))) count(part);
    }
  }
  if (nars.length === 0) return removed;
  sleep(FORGOTTEN_MS);
  const moved = moveAside(folder, nars);
  sleep(NOTED_MS);
  for (const nar of breathing(moved, BREATH_FILES)) if (finish(folder, nar)) count(nar);
  return removed;
}

/** Makes the folder, and says by its time that it is in use: not every filesystem does so when something is moved there. */
function useTrash(folder: string): void {
  const trash = trashFolder(folder);
  makeFolderInSync(folder, trash);
  utimesSync(trash, new Date(), new Date());
}

/** Puts back what somebody who was killed left in the trash, unless it is in use. Throws what the disk says. */
export function putBackLeft(folder: string): void {
  const trash = trashFolder(folder);
  const usedMs = statSync(trash, { throwIfNoEntry: false })?.mtimeMs;
  // A time in the future comes from a clock that was set back.
  if (usedMs === undefined || Math.abs(Date.now() - usedMs) < LEFT_MS) return;
  for (const name of readdirSync(trash)) {
    const place = fileInTrash(folder, name);
    if (place === undefined) continue;
    makeFolderInSync(folder, dirname(place));
    putBackSync(join(trash, name), place);
  }
}

/** The NAR that the unit needs, whether it goes with it or others have it too. */
function narOf(unit: Unit): Removal | undefined {
  return unit.find(({ kind }) => kind === 'nar') ?? unit[0]?.sharedNar;
}

/** Whether that was so since it was planned. */
function isUsed(folder: string, unit: Unit): boolean {
  const shared = unit[0]?.sharedNar;
  const parts = shared === undefined ? unit : [...unit, shared];
  return parts.some((part) => changed(fileAt(folder, part.place), part.usedMs));
}

/** Those that are in the trash now. */
function moveAside(folder: string, nars: readonly Removal[]): Removal[] {
  useTrash(folder);
  const moved: Removal[] = [];
  for (const nar of breathing(nars, BREATH_FILES)) {
    const file = fileAt(folder, nar.place);
    if (!changed(file, nar.usedMs) && isDone(() => renameSync(file, trashOf(folder, nar.place))))
      moved.push(nar);
  }
  return moved;
}

/** Deletes it, or puts it back if somebody has used it; whether it is gone. */
function finish(folder: string, nar: Removal): boolean {
  const file = trashOf(folder, nar.place);
  if (!changed(file, nar.usedMs)) return isDone(() => unlinkSync(file));
  putBackSync(file, fileAt(folder, nar.place));
  return false;
}

/**
 * Removes one NAR, unless, once nobody can find it any more, it turns out to be `needed`; its bytes, undefined if it stays or
 * there is none.
 */
export async function removeNar(
  folder: string,
  id: string,
  needed: () => Promise<boolean>,
): Promise<number | undefined> {
  useTrash(folder);
  for (const one of placesOf(id)) {
    const aside = trashOf(folder, one);
    const place = fileAt(folder, one);
    // Tried once more if a service that has just started has put the file back meanwhile.
    for (;;) {
      const bytes = statSync(place, { throwIfNoEntry: false })?.size;
      if (bytes === undefined || !isDone(() => renameSync(place, aside))) break;
      if (await needed()) {
        putBackSync(aside, place);
        return undefined;
      }
      if (isDone(() => unlinkSync(aside))) return bytes;
    }
  }
  return undefined;
}

/** Whether the file has another time; a file that is gone has not. */
function changed(file: string, usedMs: number): boolean {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats !== undefined && Math.abs(stats.mtimeMs - usedMs) > SAME_MS;
}

/** Whether it was done; not if the file was gone. */
function isDone(run: () => void): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
