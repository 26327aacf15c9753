// All files of the folder that are named like objects, one after another, with only one of its folders in memory at any moment:
// for a thread or a command that does nothing else, and for whoever takes hours or weeks over them and may go on from
// where it was.
import { readdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { storageError } from '../../disk/files.ts';
import { isErrno } from '../../errors.ts';
import { isId } from '../object-id.ts';
import type { Place } from '../upkeep.ts';
import { barePlaceOf, isBare } from './files.ts';

/** How long a thread that looks at many files pauses: others need the disk too, and have somebody waiting for them. */
const PAUSE_MS = 1;

/** A file that may be an object. */
export interface FolderFile {
  readonly place: Place;
  /** See {@link idOf}. */
  readonly id: string;
  readonly file: string;
}

/** One of the folders in which objects' files lie. */
interface Shelf {
  readonly folder: string;
  /** What the ids of all in it begin with, and it is called; undefined for the one in which bare files lie. */
  readonly prefix: string | undefined;
}

/**
 * All such files, in the order of their names, bare ones last.
 * @throws CacheError `storage` if the folder can't be read, or is not there any more
 */
export function* walkFolderSync(folder: string): Generator<FolderFile> {
  for (const shelf of shelvesOf(folder)) yield* filesOf(shelf, namesSync(shelf));
}

/** The same for whoever lets others have their turn; those behind `after`. */
export async function* walkFolder(folder: string, after?: Place): AsyncGenerator<FolderFile> {
  for (const shelf of shelvesOf(folder)) {
    if (after !== undefined && isPast(shelf, after)) continue;
    const names = await readdir(shelf.folder).catch((error) => unlessMissing(shelf, error));
    for (const file of filesOf(shelf, names)) if (after === undefined || isBehind(file, after)) yield file;
  }
}

/** The bare ones alone. */
export function walkBareSync(folder: string): FolderFile[] {
  const shelf = { folder, prefix: undefined };
  return [...filesOf(shelf, namesSync(shelf))];
}

function* shelvesOf(folder: string): Generator<Shelf> {
  for (let byte = 0; byte < 256; byte++) {
    const prefix = byte.toString(16).padStart(2, '0');
    yield { folder: join(folder, prefix), prefix };
  }
  yield { folder, prefix: undefined };
}

function* filesOf({ folder, prefix }: Shelf, names: readonly string[]): Generator<FolderFile> {
  for (const id of names.filter(isId).sort())
    yield {
      place: prefix === undefined ? barePlaceOf(id) : (`${prefix}/${id}` as Place),
      id,
      file: join(folder, id),
    };
}

function isPast({ prefix }: Shelf, after: Place): boolean {
  return prefix !== undefined && (isBare(after) || prefix < after.slice(0, 2));
}

function isBehind({ place }: FolderFile, after: Place): boolean {
  return isBare(place) === isBare(after) ? place > after : isBare(place);
}

function namesSync(shelf: Shelf): string[] {
  try {
    return readdirSync(shelf.folder);
  } catch (error) {
    return unlessMissing(shelf, error);
  }
}

/** Of the folders by prefix those are there that something was stored in. */
function unlessMissing({ folder, prefix }: Shelf, error: unknown): string[] {
  if (prefix !== undefined && isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
  throw storageError(`can't read ${folder}`, error);
}

/** All of them, with a pause after every so many. */
export function* breathing<T>(all: Iterable<T>, every: number): Generator<T> {
  let count = 0;
  for (const one of all) {
    yield one;
    if (++count % every === 0) sleep(PAUSE_MS);
  }
}

/** Has the thread do nothing for so long. */
export function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
