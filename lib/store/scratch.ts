// Space on this machine's disk for bodies on their way, whatever the store: nothing of it is served to anybody.

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
  /** Ends it: what it held is gone, unless it was put into the store. Safe to call twice. Never rejects. */
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

/** What the disk has, for us. */
export interface Room {
  /** Bytes. */
  readonly free: number;
  readonly total: number;
}

export interface Scratch {
  /** @throws CacheError `storage` if that can't be seen */
  room(): Promise<Room>;
  /**
   * Whether a body of so many bytes, or of a few where nobody knows, has room.
   * @throws CacheError `full` if not, or if the disk takes no writes; `storage` if that can't be seen
   */
  checkRoom(bytes: number | undefined): Promise<void>;
  /** At once: see {@link Spool.ready}. */
  spool(): Spool;
  /** Notes in a spool what it is the beginning of, so that it may be continued even if the service is killed. Never rejects. */
  noteBeginning(spool: Spool, beginning: Beginning): Promise<void>;
  /** Keeps the beginning of a body for another start; for a while, and if that can be done. The spool is still to be closed. */
  keepBeginning(spool: Spool, beginning: Beginning): Promise<void>;
  /** A spool with such a beginning in it, which is no longer kept, and its length. */
  takeBeginning(wanted: Omit<Beginning, 'length'>): Promise<{ spool: Spool; length: number } | undefined>;
  /** Resolves when every spool has been closed. */
  idle(): Promise<void>;
  /** Removes what others who write here have left, and who are gone. */
  dropAbandoned(): Promise<void>;
  /** Shows, until it is closed, that somebody writes here: a service that starts leaves those spools alone. */
  show(): Promise<{ close(): Promise<void> }>;
}
