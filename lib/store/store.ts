// What every store can do. The folder (`FolderStore`) is the first one; nothing above knows more than this.

import type { Reader } from '../bytes/streams.ts';
import type { ObjectKind } from '../nix/object-name.ts';

/** What a stored object says of itself. */
export interface ObjectMeta {
  /** The request path, e.g. `/nar/….nar.xz`. */
  readonly path: string;
  readonly kind: ObjectKind;
  /** Where it came from: `push`, an upstream's URL, or `unknown` for a file of the Go service. */
  readonly origin: string;
  readonly storedAt: Date;
  /** Bytes of the body. */
  readonly size: number;
  /** SHA-256 of the body in hexadecimal; undefined only for a file of the Go service that promises none. */
  readonly sha256: string | undefined;
  /** For a NAR, where known: the NarHash, `sha256:<nix32>`. */
  readonly narHash?: string | undefined;
  /** For a narinfo: the names of other NARs that were pushed for its store path, in other compressions. */
  readonly otherNars?: readonly string[] | undefined;
}

/** A stored object held open: its bytes stay readable even if it is deleted or replaced meanwhile. Close it. */
export interface StoredObject {
  readonly meta: ObjectMeta;
  /** Differs when the object was replaced. */
  readonly version: string;
  /**
   * The bytes from `start` up to, not including, `end`; its end closes the object. Read from the first byte to the last, it
   * fails before the last ones if they are not what was stored; a damaged object is set aside then.
   * @throws CacheError `damaged` or `storage` while it is read
   */
  reader(start: number, end: number): Reader;
  /**
   * The whole body, for small ones; closes the object.
   * @throws CacheError `damaged` if it is not what was stored; it is set aside then. `storage` if it can't be read
   */
  bytes(): Promise<Buffer>;
  close(): Promise<void>;
}

/** A body on its way into the store, written at any offset and readable all the while. */
export interface Spool {
  /**
   * When it has a file. Whoever does not wait for that hears from the first write what was in its way.
   * @throws CacheError `storage`
   */
  ready(): Promise<void>;
  /** @throws CacheError `storage` */
  write(chunk: Uint8Array, offset: number): Promise<void>;
  /**
   * Fills `buffer` from `offset` as far as bytes are there; how many that were.
   * @throws CacheError `storage`
   */
  read(buffer: Uint8Array, offset: number): Promise<number>;
  /** Ends it: the file is closed and, unless it was put into the store, gone. Safe to call twice. Never rejects. */
  close(): Promise<void>;
}

/** The beginning of a body that did not arrive in full. */
export interface Beginning {
  readonly path: string;
  /** Of the whole: bytes, and SHA-256 in hexadecimal. */
  readonly size: number;
  readonly sha256: string;
  /** Bytes that are there, from the start and without a gap. */
  readonly length: number;
}

export interface PutOptions {
  /** What to do when the object exists: `replace` it, or `keep` what is there. */
  readonly existing: 'replace' | 'keep';
  /** Whether the object must survive a power loss once `put` has answered, and not merely be whole. */
  readonly durable: boolean;
}

export interface ListedObject extends Omit<ObjectMeta, 'path' | 'kind'> {
  /** Undefined for a file of the Go service whose name can't be told. */
  readonly path: string | undefined;
  readonly lastUse: Date;
}

export interface Store {
  /** The object, whole, or undefined. Counts as a use of it. */
  open(path: string): Promise<StoredObject | undefined>;
  /** The version of the object without opening it, or undefined. Counts as a use of it. */
  version(path: string): Promise<string | undefined>;
  /** Whether there is none, not even one that a removal has in its hands and may put back. */
  isGone(path: string): Promise<boolean>;
  /** Moves the object where nobody is served it, and says why. */
  setAsideAs(path: string, reason: string): Promise<void>;
  /**
   * Whether a body of so many bytes, or of a few where nobody knows, has room.
   * @throws CacheError `full` if not, or if the disk takes no writes; `storage` if that can't be seen
   */
  checkRoom(bytes: number | undefined): Promise<void>;
  /** At once: see {@link Spool.ready}. */
  spool(): Spool;
  /** Notes in a spool what it is the beginning of, so that it may be continued even if the service is killed. Never rejects. */
  notePartial(spool: Spool, partial: Beginning): Promise<void>;
  /** Keeps the beginning of a body for another start; for a while, and if that can be done. The spool is still to be closed. */
  keepPartial(spool: Spool, partial: Beginning): Promise<void>;
  /** A spool with such a beginning in it, which is no longer kept, and its length. */
  takePartial(wanted: Omit<Beginning, 'length'>): Promise<{ spool: Spool; length: number } | undefined>;
  /** Resolves when every spool has been closed. */
  idle(): Promise<void>;
  /** Makes the spooled body the object. `exists` when it was there and was kept. */
  put(spool: Spool, meta: ObjectMeta, options: PutOptions): Promise<'stored' | 'exists'>;
  /** Makes what is stored under the path survive a power loss. */
  sync(path: string): Promise<void>;
  delete(path: string): Promise<boolean>;
  list(): AsyncIterable<ListedObject>;
}
