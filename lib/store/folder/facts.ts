// What one file of the folder tells of itself in as few reads as possible: for whoever looks at all of them. Synchronous,
// because a million of them are read by a thread that does nothing else (see scan-thread.ts), or by a command.
import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { isUnreadable, QUIETLY, storageError, TO_READ } from '../../disk/files.ts';
import { describe, isCacheError, isErrno } from '../../errors.ts';
import { beginsLikeNarInfo, MAX_NARINFO_BYTES, parseNarInfo, storeDirIn } from '../../nix/narinfo.ts';
import { pathOf } from '../../nix/object-name.ts';
import { hashPartOf } from '../../nix/store-path.ts';
import { factsOf, narRef } from '../facts.ts';
import { idOf } from '../object-id.ts';
import type { Facts } from '../upkeep.ts';
import { isBare } from './files.ts';
import { decodeHeader, HEADER_BYTES, MAX_HEADER_BYTES } from './header.ts';
import type { FolderFile } from './walk.ts';

/** What the file tells; undefined if it is gone, no object, or can't be read, which `unreadable` is told of. */
export function readFacts(
  source: FolderFile,
  storeDir: string,
  unreadable: (why: string) => void = () => {},
): Facts | undefined {
  try {
    return factsIn(source, storeDir);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    unreadable(`${source.file}: ${describe(error)}`);
    return undefined;
  }
}

function factsIn({ file, place }: FolderFile, storeDir: string): Facts | undefined {
  const fd = openQuietly(file);
  if (fd === undefined) return undefined;
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) return undefined;
    const known = { bytes: stats.size, usedMs: stats.mtimeMs };
    if (isBare(place)) return { ...known, ...bareFacts(fd, stats.size, storeDir) };
    const head = readAt(fd, 0, Math.min(MAX_HEADER_BYTES, stats.size));
    const { meta, length } = decodeHeader(head);
    const text = () => {
      // The size in a damaged header may be more than fits into memory.
      const size = Math.min(meta.size, stats.size - length);
      if (head.length >= length + size) return head.toString('utf8', length, length + size);
      return readAt(fd, length, size).toString();
    };
    return { ...known, ...factsOf(meta, text, storeDir) };
  } catch (error) {
    if (isCacheError(error, 'damaged')) return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** The ids of the narinfos of what the narinfo in that file refers to; none where that can't be told. */
export function readReferences({ file }: Pick<FolderFile, 'file'>, storeDir: string): string[] {
  try {
    const fd = openQuietly(file);
    if (fd === undefined) return [];
    try {
      const head = readAt(fd, 0, Math.min(MAX_HEADER_BYTES + MAX_NARINFO_BYTES, fstatSync(fd).size));
      const text = head.toString('utf8', decodeHeader(head).length);
      const { references } = parseNarInfo(text, storeDirIn(text) ?? storeDir);
      return references.map((one) => idOf(pathOf({ kind: 'narinfo', hash: hashPartOf(one) })));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isCacheError(error, 'damaged') || isCacheError(error, 'invalid') || isUnreadable(error)) return [];
    throw error;
  }
}

/** The small body of what is neither narinfo nor NAR; undefined for anything else, and for what can't be read. */
export function readSmall(
  { file, place }: FolderFile,
  mostBytes: number,
): { readonly path: string; readonly body: Buffer } | undefined {
  if (isBare(place)) return undefined;
  try {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats?.isFile() !== true || stats.size > HEADER_BYTES + mostBytes) return undefined;
    const bytes = readQuietly(file);
    if (bytes === undefined) return undefined;
    const { length, meta } = decodeHeader(bytes);
    const { kind, path } = meta;
    return kind === 'narinfo' || kind === 'nar' ? undefined : { path, body: bytes.subarray(length) };
  } catch (error) {
    if (isCacheError(error, 'damaged') || isUnreadable(error)) return undefined;
    throw storageError(`can't read ${file}`, error);
  }
}

function readQuietly(file: string): Buffer | undefined {
  const fd = openQuietly(file);
  if (fd === undefined) return undefined;
  try {
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Without noting on the disk when each of a million files was read; undefined if there is none. */
function openQuietly(file: string): number | undefined {
  try {
    return openSync(file, QUIETLY);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    // Only a file's owner may open it with O_NOATIME.
    if (isErrno(error, 'EPERM', 'EINVAL')) return openSync(file, TO_READ);
    throw error;
  }
}

/** Without a header, narinfos are known by how they begin, and NARs by the narinfos that name them. */
function bareFacts(fd: number, size: number, storeDir: string): Pick<Facts, 'kind' | 'pushed' | 'ref'> {
  const nothing = { kind: 'other', pushed: false, ref: undefined } as const;
  if (size > MAX_NARINFO_BYTES || !beginsLikeNarInfo(readAt(fd, 0, 16))) return nothing;
  const ref = narRef(readAt(fd, 0, size).toString(), 'unknown', storeDir);
  return ref === undefined ? nothing : { kind: 'narinfo', pushed: false, ref };
}

/** What is read is looked at before the next is read. */
const scratch = Buffer.alloc(64 * 1024);

function readAt(fd: number, position: number, length: number): Buffer {
  const buffer = length <= scratch.length ? scratch.subarray(0, length) : Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const read = readSync(fd, buffer, done, length - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return buffer.subarray(0, done);
}
