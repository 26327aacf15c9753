// How far a round of the scrub has come: a small file in the cache folder, replaced as a whole, so that a restart goes on there.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile, storageError } from '../disk/files.ts';
import { writing } from '../disk/writing.ts';
import { isErrno } from '../errors.ts';
import { give } from '../store/folder/own.ts';
import type { Place } from '../store/folder/walk.ts';
import { isId } from '../store/object-id.ts';

export interface Position {
  /** When the round began: milliseconds since 1970. */
  readonly startedAt: number;
  /** Undefined at its beginning. */
  readonly after: Place | undefined;
  /** Checked in this round so far. */
  readonly objects: number;
  readonly bytes: number;
  readonly findings: number;
}

const FORMAT = 1;

/** Undefined if there is none, or none that makes sense: then a round begins. */
export async function loadPosition(folder: string): Promise<Position | undefined> {
  try {
    const { after, bytes, findings, format, objects, startedAt } = JSON.parse(
      await readFile(fileIn(folder), 'utf8'),
    );
    const numbers = [startedAt, objects, bytes, findings];
    if (format !== FORMAT || !numbers.every((one) => Number.isFinite(one) && one >= 0)) return undefined;
    if (after !== undefined && !(isId(after.id) && typeof after.flat === 'boolean')) return undefined;
    return { startedAt, after: after && { id: after.id, flat: after.flat }, objects, bytes, findings };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || isErrno(error, 'ENOENT'))
      return undefined;
    throw storageError(`can't read ${fileIn(folder)}`, error);
  }
}

/** @throws CacheError `storage` */
export async function savePosition(folder: string, position: Position): Promise<void> {
  const file = fileIn(folder);
  try {
    await writing(() =>
      replaceFile(file, `${file}.new`, (handle) =>
        handle.writeFile(`${JSON.stringify({ format: FORMAT, ...position })}\n`),
      ),
    );
    await give(folder, file);
  } catch (error) {
    throw storageError(`can't write ${file}`, error);
  }
}

function fileIn(folder: string): string {
  return join(folder, 'scrub.json');
}
