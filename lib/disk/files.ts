// Files of any folder: opened without a trace, replaced as a whole, made durable; and what the disk says, in words.
import { constants, stat as statByCallback } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { CacheError, describe, isErrno } from '../errors.ts';
import { writing } from './writing.ts';

/** How to open what may be no file: whoever opens a pipe otherwise waits for somebody to write to it. */
export const TO_READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
/** The same without its being noted on the disk that it was read; Linux alone has that. */
export const QUIETLY = TO_READ | (constants.O_NOATIME ?? 0);

/** Undefined if there is no such file. Leaves no trace: to note that a file was read, a read would wait for the disk's journal. */
export async function openForReading(file: string): Promise<FileHandle | undefined> {
  try {
    // Only a file's owner may open it with O_NOATIME.
    return await open(file, QUIETLY).catch((error) => {
      if (isErrno(error, 'EPERM', 'EINVAL')) return open(file, TO_READ);
      throw error;
    });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw storageError(`can't read ${file}`, error);
  }
}

/** As `stat` of node:fs/promises, in two thirds of its time. */
export const statOf = promisify(statByCallback);

/** Bytes of the file; undefined if there is none. */
export async function sizeOf(file: string): Promise<number | undefined> {
  const stats = await stat(file).catch((error) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw storageError(`can't read ${file}`, error);
  });
  return stats?.size;
}

/**
 * Has `fill` write `temporary`, and makes that `file` once it is on the disk: whatever happens, `file` is whole, or what it was.
 * It is for the caller to make the name durable. Throws what the disk says, or what `fill` throws.
 */
export async function replaceFile(
  file: string,
  temporary: string,
  fill: (handle: FileHandle) => Promise<unknown>,
): Promise<void> {
  try {
    const handle = await open(temporary, 'w', 0o644);
    try {
      await fill(handle);
      // Without this, a power loss may leave the name on an empty file.
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** Whether the filesystem can't sync a folder, and has done what it can. */
export function lacksFolderSync(error: unknown): boolean {
  return isErrno(error, 'EINVAL', 'ENOTSUP', 'EPERM', 'EBADF');
}

/**
 * Makes the names in `folder` survive a power loss; false if there is no such folder. Some filesystems, of USB sticks and shares,
 * can't sync one: they have done what they can.
 * @throws CacheError `storage`
 */
export async function syncFolder(folder: string): Promise<boolean> {
  try {
    const handle = await open(folder, 'r');
    try {
      await writing(() => handle.sync());
    } catch (error) {
      if (!lacksFolderSync(error)) throw error;
    } finally {
      // Nobody waits for that.
      handle.close().catch(() => {});
    }
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw storageError(`can't sync ${folder}`, error);
  }
}

/** Whether the disk refused this one file, now or for ever, and not all of them. */
export function isUnreadable(error: unknown): boolean {
  return isErrno(error, 'EACCES', 'EPERM', 'ELOOP', 'ENXIO', 'EIO', 'EBADMSG', 'EUCLEAN', 'EILSEQ');
}

/** A refusal of the disk, in words for the operator. */
export function storageError(what: string, error: unknown): CacheError {
  const hint = isFull(error) ? ' (the disk is full)' : '';
  return new CacheError('storage', `${what}: ${describe(error)}${hint}`, error);
}

/** Whether the disk, or a quota on it, has no more room. */
export function isFull(error: unknown): boolean {
  return isErrno(error, 'ENOSPC', 'EDQUOT');
}
