// How much room the disk has, and whether it takes writes at all.
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { storageError } from '../../disk/files.ts';
import { CacheError } from '../../errors.ts';
import type { Room } from '../scratch.ts';
import { makeFolderIn } from './own.ts';

/** What an upload leaves free: its narinfo and other small files need room too. */
const SPARE_BYTES = 1 << 20;
/** The same of the files that a filesystem may have: its temporary file, a folder, and those of its narinfo. */
const SPARE_FILES = 4;

interface DiskRoom extends Room {
  /** How many files more there may be; undefined where the filesystem has no limit. */
  readonly freeFiles: number | undefined;
}

/**
 * What the disk that the folder is on has.
 * @throws CacheError `storage`
 */
export async function roomOf(folder: string): Promise<DiskRoom> {
  const { bavail, blocks, bsize, ffree, files } = await statfs(folder).catch((error) => {
    throw storageError(`can't see how much is free in ${folder}`, error);
  });
  return { free: bavail * bsize, total: blocks * bsize, freeFiles: files > 0 ? ffree : undefined };
}

/**
 * Why an upload of so many bytes is refused, as `full`; undefined if there is room for it.
 * @throws CacheError `storage`
 */
export async function lackOfRoom(folder: string, bytes: number): Promise<CacheError | undefined> {
  const expected = bytes + SPARE_BYTES;
  const { free, freeFiles } = await roomOf(folder);
  if (freeFiles !== undefined && freeFiles < SPARE_FILES) {
    return new CacheError('full', `the disk has room for ${freeFiles} files, expected ${SPARE_FILES}`);
  }
  if (free >= expected) return undefined;
  return new CacheError('full', `the disk has room for ${free} bytes, expected ${expected} for this upload`);
}

/**
 * Somebody may have removed the folder or taken it away from us, or the disk may have become read-only: that is seen without
 * writing anything.
 * @throws CacheError `full`
 */
export async function checkWritable(folder: string): Promise<void> {
  const tmp = join(folder, 'tmp');
  try {
    await makeFolderIn(folder, tmp);
    for (const one of [tmp, folder]) await access(one, constants.W_OK);
  } catch (error) {
    throw new CacheError('full', 'the disk takes no writes now', error);
  }
}
