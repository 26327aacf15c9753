// Small bodies of what is neither narinfo nor NAR, for whoever looks at all of them: synchronous, as facts.ts.
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { isUnreadable, QUIETLY, storageError, TO_READ } from '../../disk/files.ts';
import { isCacheError, isErrno } from '../../errors.ts';
import type { Place } from '../upkeep.ts';
import { isBare } from './files.ts';
import { decodeHeader, HEADER_BYTES } from './header.ts';

/** Undefined for anything else, and for what can't be read. */
export function readSmall(
  file: string,
  place: Place,
  mostBytes: number,
): { readonly path: string; readonly body: Buffer } | undefined {
  if (isBare(place)) return undefined;
  try {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats?.isFile() !== true || stats.size > HEADER_BYTES + mostBytes) return undefined;
    const bytes = readQuietly(file);
    const { length, meta } = decodeHeader(bytes);
    const { kind, path } = meta;
    return kind === 'narinfo' || kind === 'nar' ? undefined : { path, body: bytes.subarray(length) };
  } catch (error) {
    if (isCacheError(error, 'damaged') || isErrno(error, 'ENOENT') || isUnreadable(error)) return undefined;
    throw storageError(`can't read ${file}`, error);
  }
}

/** Without its being noted on the disk. */
function readQuietly(file: string): Buffer {
  let fd: number;
  try {
    fd = openSync(file, QUIETLY);
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'EINVAL')) throw error;
    fd = openSync(file, TO_READ);
  }
  try {
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
