// Files of an exported folder: written under a temporary name, synced, renamed. So what has its name is whole, whatever
// happened to whoever wrote it, and an export that is run again can go by names and sizes.
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { replaceFile, storageError, syncFolder } from '../disk/files.ts';
import { isCacheError, isErrno } from '../errors.ts';

const TEMPORARY = /^\.export-[0-9a-f]{16}\.tmp$/;

/**
 * Makes the folder, and removes what an earlier export left in it half-written: only one may write to it.
 * @throws CacheError `storage`
 */
export async function prepareTarget(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    for (const name of (await readdir(folder)).filter((one) => TEMPORARY.test(one)))
      await rm(join(folder, name), { force: true });
  } catch (error) {
    throw storageError(`can't write to ${folder}`, error);
  }
}

export type Write = (chunk: Uint8Array) => Promise<void>;

/**
 * Has `fill` write `file`, and makes that durable; if it fails, there is no such file.
 * @throws CacheError `storage`, or what `fill` throws
 */
export async function placeFile(file: string, fill: (write: Write) => Promise<void>): Promise<void> {
  const folder = dirname(file);
  const temporary = join(folder, `.export-${randomBytes(8).toString('hex')}.tmp`);
  try {
    // Unlike write, writeFile goes on until all bytes are written.
    await replaceFile(file, temporary, (handle) => fill((chunk) => handle.writeFile(chunk)));
    await syncFolder(folder);
  } catch (error) {
    if (isCacheError(error)) throw error;
    throw storageError(`can't write ${file}`, error);
  }
}

/** @throws CacheError `storage` */
export function writeText(file: string, text: string): Promise<void> {
  return placeFile(file, (write) => write(Buffer.from(text)));
}

/** The text of a small file; undefined if there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch((error) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw storageError(`can't read ${file}`, error);
  });
}
