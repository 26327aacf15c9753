// What every store can do with objects, by their request paths; others may share it. The folder is the first one; nothing above knows
// more than this. What it must promise is written, sentence by sentence, in test/store/contract.ts, which every store passes.
import type { Lent } from '../bytes/buffers.ts';
import type { Reader } from '../bytes/streams.ts';
import type { ObjectKind } from '../nix/object-name.ts';
import type { Spool } from './scratch.ts';

/** How late at most a use is noted: what was used less than that ago need not be noted again. */
export const TOUCH_INTERVAL_MS = 10 * 60_000;

/** What a stored object says of itself. */
export interface ObjectMeta {
  /** The request path, e.g. `/nar/….nar.xz`. */
  readonly path: string;
  readonly kind: ObjectKind;
  /** Where it came from: `push`, an upstream's URL, or `unknown` for what another program put there, and nobody checked. */
  readonly origin: string;
  readonly storedAt: Date;
  /** Bytes of the body. */
  readonly size: number;
  /** SHA-256 of the body in hexadecimal; undefined only for what is of unknown origin and promises none. */
  readonly sha256: string | undefined;
  /** For a NAR, where known: the NarHash, `sha256:<nix32>`. */
  readonly narHash?: string | undefined;
  /** For a narinfo: the names of other NARs that were pushed for its store path, in other compressions. */
  readonly otherNars?: readonly string[] | undefined;
}

/** An object that is there. */
export interface Seen {
  /** Differs when the object was replaced. */
  readonly version: string;
  /** How long that may be believed without another look: a removal takes longer than that. */
  readonly freshForMs: number;
  /** Notes, in the background and as far as that can be done, that somebody uses it. */
  used(): void;
}

/** A stored object held open: its bytes stay readable even if it is deleted or replaced meanwhile. Close it. */
export interface StoredObject extends Seen {
  readonly meta: ObjectMeta;
  /** Notes that somebody uses it, from now on until it is closed: no collection takes what was used lately. */
  used(): void;
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

/** A small object that is in memory. */
export interface ReadyBody {
  readonly meta: ObjectMeta;
  readonly body: Lent;
}

export interface PutOptions {
  /**
   * When it is to be stored: if there is no such object, whatever there is, or if there is one of this version: whoever changes an
   * object must have seen what it was.
   */
  readonly when: 'absent' | 'always' | { readonly version: string };
  /** Whether the object must survive a power loss once `put` has answered, and not merely be whole. */
  readonly durable: boolean;
}

export interface ListedObject extends Omit<ObjectMeta, 'path' | 'kind'> {
  /** Undefined where that is of unknown origin, and can't be told. */
  readonly path: string | undefined;
  readonly lastUse: Date;
}

export interface Store {
  /**
   * The object, whole, or undefined. Leaves no trace. `serves`: it is sent to somebody, and others may ask for it soon.
   * @throws CacheError `storage`
   */
  open(path: string, serves?: boolean): Promise<StoredObject | undefined>;
  /**
   * The same at once, where the store has lately opened it, saw it within `freshForMs` and knows of nothing that has become of it
   * since: for whoever serves it, not for whoever must be sure that it is there. Undefined says nothing.
   */
  ready(path: string): StoredObject | undefined;
  /**
   * The whole of it at once, where it is small, was found right a short while ago, and is in memory as far as can be told; it counts as used.
   * Undefined says nothing.
   */
  readyBody(path: string): ReadyBody | undefined;
  /**
   * Whether there is such an object, and which. Leaves no trace.
   * @throws CacheError `storage`
   */
  version(path: string): Promise<Seen | undefined>;
  /** The same at once, of what was looked at within half a minute; undefined says nothing: it could take long. */
  versionNow(path: string): Seen | 'none' | undefined;
  /** Whether there is none, not even one that a removal has in its hands and may put back. */
  isGone(path: string): Promise<boolean>;
  /**
   * Makes the body the object of `meta.path`, whole or not at all, in one step for whoever reads. `exists`: it was not `when` the
   * options say.
   * @throws CacheError `storage`
   */
  put(body: Spool | Buffer, meta: ObjectMeta, options: PutOptions): Promise<'stored' | 'exists'>;
  /** Makes what is stored under the path survive a power loss. */
  sync(path: string): Promise<void>;
  /** Whether there was one. */
  delete(path: string): Promise<boolean>;
  /** Moves the object where nobody is served it, and says why. Whether there was one. */
  setAsideAs(path: string, reason: string): Promise<boolean>;
  /** All objects, in any order. */
  list(): AsyncIterable<ListedObject>;
}
