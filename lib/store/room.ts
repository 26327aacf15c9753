// How much room the disk has, and whether it takes writes at all.
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { CacheError } from '../errors.ts';
import { storageError } from './files.ts';
import { makeFolder } from './writing.ts';

/** What an upload leaves free: its narinfo and other small files need room too. */
const SPARE_BYTES = 1 << 20;

/**
 * Bytes of the disk that the folder is on: those that are free to us, and all.
 * @throws CacheError `storage`
 */
export async function roomOf(folder: string): Promise<{ readonly free: number; readonly total: number }> {
  const { bavail, blocks, bsize } = await statfs(folder).catch((error) => {
    throw storageError(`can't see how much is free in ${folder}`, error);
  });
  return { free: bavail * bsize, total: blocks * bsize };
}

/**
 * Why an upload of so many bytes is refused, as `full`; undefined if there is room for it.
 * @throws CacheError `storage`
 */
export async function lackOfRoom(folder: string, bytes: number): Promise<CacheError | undefined> {
  const expected = bytes + SPARE_BYTES;
  const { free } = await roomOf(folder);
  if (free >= expected) return undefined;
  return new CacheError('full', `the disk has room for ${free} bytes, expected ${expected} for this upload`);
}

/**
 * Somebody may have removed the folder, or the disk may have become read-only: that is seen without writing anything.
 * @throws CacheError `full`
 */
export async function checkWritable(folder: string): Promise<void> {
  try {
    await makeFolder(folder);
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new CacheError('full', 'the disk takes no writes now', error);
  }
}
