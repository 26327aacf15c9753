// What the store's files have in common: how they are named, opened, told apart, marked as used and made durable.
import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { type FileHandle, open, utimes } from 'node:fs/promises';
import { CacheError, describe, isErrno } from '../errors.ts';

/** How stale an object's last use may be on disk. */
const TOUCH_INTERVAL_MS = 10 * 60_000;

/** The name of an object's file: the SHA-256 of its path, in hexadecimal. */
export function fileNameOf(path: string): string {
  return createHash('sha256').update(path).digest('hex');
}

/** Undefined if there is no such file. */
export async function openForReading(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw storageError(`can't read ${file}`, error);
  }
}

/** A replaced object has another inode: the new file exists before the old one goes. */
export function versionOf(stats: Stats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}`;
}

/** Notes a use on disk, at most every ten minutes. A reader does not wait for it, and a read-only disk is no reason to fail. */
export function touch(file: string, stats: Stats): void {
  const now = Date.now();
  if (Math.abs(now - stats.mtimeMs) < TOUCH_INTERVAL_MS) return;
  utimes(file, now / 1000, now / 1000).catch(() => {});
}

/** Makes the names in `folder` survive a power loss; false if there is no such folder. */
export async function syncFolder(folder: string): Promise<boolean> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw storageError(`can't sync ${folder}`, error);
  }
}

/** A refusal of the disk, in words for the operator. */
export function storageError(what: string, error: unknown): CacheError {
  const hint = isErrno(error, 'ENOSPC', 'EDQUOT') ? ' (the disk is full)' : '';
  return new CacheError('storage', `${what}: ${describe(error)}${hint}`, error);
}
