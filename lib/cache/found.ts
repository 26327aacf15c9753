// What was found of an object, wherever that was: what whoever sends it need know of it, and its bytes.
import { type Reader, readerOf } from '../bytes/streams.ts';
import type { Download } from '../download/download.ts';
import type { Held } from '../download/growing.ts';
import type { How } from '../events.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { sha256ToHex } from '../nix/hash.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { mimeOf, type ObjectKind } from '../nix/object-name.ts';
import type { StoredObject } from '../store/store.ts';

/** Open it or close it. */
export interface Found {
  readonly mime: string;
  /** Bytes; undefined while nobody can tell. */
  readonly size: number | undefined;
  /** Whether that is known, and not only what an upstream says of a body that nobody has described. */
  readonly sure: boolean;
  /** SHA-256 of the body in hexadecimal, if it is known. */
  readonly sha256: string | undefined;
  /** When it came here, if that tells one version of it from another. */
  readonly modified: Date | undefined;
  /** Whether the bytes under its name never change. */
  readonly lasting: boolean;
  /** What it is packed in, where this Node can't undo that. */
  readonly coding?: string | undefined;
  /** For the log. */
  readonly how: How;
  /** Whether its bytes are judged only as they are read: while none was sent, another can take the place of one that is damaged. */
  readonly mayBeDamaged: boolean;
  /** The whole body, where it is in memory anyway. */
  readonly body: Buffer | undefined;
  /** The bytes from `start` up to `end`, or to the end if undefined. */
  open(start: number, end: number | undefined): Reader;
  close(): void;
}

export function foundInMemory({ served, sha256, modified }: KnownNarInfo, how: How): Found {
  const body = Buffer.from(served, 'latin1');
  return {
    mime: mimeOf('narinfo'),
    size: body.length,
    sure: true,
    sha256,
    modified,
    lasting: false,
    how,
    mayBeDamaged: false,
    ...inMemory(body),
  };
}

/** Whoever does not send `body` as it is may read it like any other. */
export function inMemory(body: Buffer): Pick<Found, 'body' | 'open' | 'close'> {
  return { body, open: (start, end) => readerOf(body.subarray(start, end)), close: () => {} };
}

export function foundInNarInfo({ compression, fileHash, fileSize, narHash, narSize }: NarInfo): Found {
  const isPlain = compression === 'none';
  const hash = fileHash ?? (isPlain ? narHash : undefined);
  return {
    mime: mimeOf('nar'),
    size: fileSize ?? (isPlain ? narSize : undefined),
    sure: true,
    sha256: hash && sha256ToHex(hash),
    modified: undefined,
    lasting: hash !== undefined,
    how: 'miss',
    mayBeDamaged: false,
    body: undefined,
    open: () => {
      throw new TypeError('what is only announced has no bytes');
    },
    close: () => {},
  };
}

export function foundInStore(object: StoredObject, coding: string | undefined): Found {
  const { kind, size, sha256, storedAt } = object.meta;
  return {
    mime: mimeOf(kind),
    size,
    sure: true,
    sha256,
    modified: storedAt,
    lasting: isLasting(kind, sha256),
    coding,
    how: 'hit',
    mayBeDamaged: true,
    body: undefined,
    open: (start, end) => object.reader(start, end ?? size),
    close: () => void object.close().catch(() => {}),
  };
}

/** `held` is of the download. */
export function foundInDownload(download: Download, held: Held, kind: ObjectKind, how: How): Found {
  return {
    mime: mimeOf(kind),
    size: download.size,
    sure: download.sure,
    sha256: download.sha256,
    modified: undefined,
    lasting: isLasting(kind, download.sha256),
    coding: download.coding,
    how,
    mayBeDamaged: false,
    body: undefined,
    open: (start, end) => held.open(start, end),
    close: () => held.close(),
  };
}

/** All others may be replaced: listings, logs and the like by the next push. */
function isLasting(kind: ObjectKind, sha256: string | undefined): boolean {
  return kind === 'nar' && sha256 !== undefined;
}
