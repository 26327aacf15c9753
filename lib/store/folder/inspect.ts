// A file of the folder while it is looked into: opened without a trace, read piece by piece into one buffer, as gently as whoever
// looks wishes.
import type { Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { PIECE_BYTES } from '../../bytes/buffers.ts';
import { openForReading, storageError } from '../../disk/files.ts';
import { CacheError, describe, isCacheError, isErrno } from '../../errors.ts';
import { beginsLikeNarInfo, hashPartIn } from '../../nix/narinfo.ts';
import { pathOf } from '../../nix/object-name.ts';
import { idOf } from '../object-id.ts';
import type { ObjectMeta } from '../store.ts';
import type { Inspected, Pause, Place } from '../upkeep.ts';
import { fileAt, idAt, isBare, placeOf, versionOf } from './files.ts';
import { decodeHeader, MAX_HEADER_BYTES } from './header.ts';

interface Head {
  readonly meta: ObjectMeta | undefined;
  /** Where the body begins. */
  readonly bodyAt: number;
  readonly damage: string | undefined;
  readonly path: string | undefined;
}

/**
 * Undefined if there is no such file any more.
 * @throws CacheError `storage`, or what `pause` throws
 */
export async function inspectFile(
  folder: string,
  place: Place,
  pause: Pause,
): Promise<Inspected | undefined> {
  const file = fileAt(folder, place);
  const handle = await openForReading(file);
  if (handle === undefined) return undefined;
  try {
    const stats = await handle.stat().catch((error) => {
      throw storageError(`can't read ${file}`, error);
    });
    if (stats.isFile()) return await inspected({ file, handle, place, stats }, pause);
    await handle.close();
    return undefined;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

interface Opened {
  readonly file: string;
  readonly handle: FileHandle;
  readonly place: Place;
  readonly stats: Stats;
}

async function inspected({ file, handle, place, stats }: Opened, pause: Pause): Promise<Inspected> {
  const bytes = stats.size;
  const piecesAt = (from: number, to: number) => readPieces({ file, handle, pause }, from, to);
  const { bodyAt, ...head } = await readHead(place, bytes, piecesAt);
  return {
    place,
    id: idAt(place),
    version: versionOf(stats),
    bytes,
    size: bytes - bodyAt,
    ...head,
    pieces: (from = 0, to = bytes - bodyAt) => piecesAt(bodyAt + from, bodyAt + to),
    close: () => handle.close(),
  };
}

async function readHead(
  place: Place,
  bytes: number,
  piecesAt: (from: number, to: number) => AsyncGenerator<Buffer>,
): Promise<Head> {
  let head = Buffer.alloc(0);
  try {
    for await (const piece of piecesAt(0, Math.min(MAX_HEADER_BYTES, bytes)))
      head = Buffer.concat([head, piece]);
    if (isBare(place)) {
      const path = beginsLikeNarInfo(head) ? narInfoPathIn(head, idAt(place)) : undefined;
      return { meta: undefined, bodyAt: 0, damage: undefined, path };
    }
    const { length, meta } = decodeHeader(head);
    if (idOf(meta.path) !== idAt(place))
      throw new CacheError('damaged', `its header says it is ${meta.path}`);
    const stray =
      place === placeOf(idAt(place)) ? undefined : 'it lies in a folder where nobody looks for it';
    return { meta, bodyAt: length, damage: stray, path: meta.path };
  } catch (error) {
    if (!isCacheError(error, 'damaged')) throw error;
    return { meta: undefined, bodyAt: 0, damage: describe(error), path: pathLeftIn(head, idAt(place)) };
  }
}

/** What a file whose header can't be read was, if what is left of it says so. */
function pathLeftIn(head: Buffer, id: string): string | undefined {
  const path = /"path":"(\/[^"\\]+)"/.exec(head.toString('latin1'))?.[1];
  return path !== undefined && idOf(path) === id ? path : narInfoPathIn(head, id);
}

function narInfoPathIn(head: Buffer, id: string): string | undefined {
  const hash = hashPartIn(head.toString('latin1'));
  const path = hash && pathOf({ kind: 'narinfo', hash });
  return path !== undefined && idOf(path) === id ? path : undefined;
}

async function* readPieces(
  { file, handle, pause }: Pick<Opened, 'file' | 'handle'> & { readonly pause: Pause },
  from: number,
  to: number,
): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(0, to - from)));
  for (let at = from; at < to; ) {
    const wanted = Math.min(buffer.length, to - at);
    const { bytesRead } = await handle.read(buffer, 0, wanted, at).catch((error) => {
      // With these errors the disk says that it has lost the bytes.
      if (isErrno(error, 'EIO', 'EBADMSG', 'EUCLEAN', 'EILSEQ'))
        throw new CacheError('damaged', `it can't be read from byte ${at} on`, error);
      throw storageError(`can't read ${file}`, error);
    });
    if (bytesRead === 0) return;
    at += bytesRead;
    await pause(bytesRead);
    yield buffer.subarray(0, bytesRead);
  }
}
