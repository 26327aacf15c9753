// The files of the Go service that this one grew from: each is named by the SHA-256 of its request path (see `idOf`), lies in the one
// folder that there was, and is the body alone. Nothing says what it is, so narinfos are known by how they begin, and all else by
// the narinfos that name it. That service checked nothing.
import { open, stat } from 'node:fs/promises';
import { storageError } from '../disk/files.ts';
import { isErrno } from '../errors.ts';
import { beginsLikeNarInfo, MAX_NARINFO_BYTES } from '../nix/narinfo.ts';
import { idOf } from './object-id.ts';

/** Enough to tell a narinfo by. */
const HEAD_BYTES = 16;

/**
 * The text of a file that begins like a narinfo; undefined for any other.
 * @throws CacheError `storage`
 */
export async function readGoNarInfo(file: string): Promise<string | undefined> {
  try {
    const stats = await stat(file);
    // Not even opened: opening a pipe waits for a writer.
    if (!stats.isFile() || stats.size > MAX_NARINFO_BYTES) return undefined;
    const handle = await open(file, 'r');
    try {
      const { buffer } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
      return beginsLikeNarInfo(buffer) ? await handle.readFile('utf8') : undefined;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw storageError(`can't read ${file}`, error);
  }
}

/** The names that the file of a NAR may have whose narinfo says that it is at this URL. */
export function goNamesAt(url: string): string[] {
  const path = url.replace(/[?#].*$/s, '').replace(/^https?:\/\/[^/]*/, '');
  return [path, url].map((one) => idOf(one.startsWith('/') ? one : `/${one}`));
}
