// All that is stored, from its three sides.
import type { Scratch } from './scratch.ts';
import type { Store } from './store.ts';
import type { Upkeep } from './upkeep.ts';

export interface Storage {
  /** The objects, which others may share. */
  readonly store: Store;
  /** Bodies on their way, on this machine. */
  readonly scratch: Scratch;
  /** For whoever looks after the objects. */
  readonly upkeep: Upkeep;
}

/** The netrc with the token for pushing that a cache makes for itself. */
export interface PushNetrc {
  readonly file: string;
  /**
   * Undefined if there is none. `exposed`: others than its owner can read it.
   * @throws CacheError `invalid` for one that says nothing of use, `storage` for one that can't be read
   */
  read(): Promise<{ readonly secret: string; readonly exposed: boolean } | undefined>;
  /**
   * Makes it, with a new token, unless there is one by now. `host` is how clients call the machine if that is none of its usual names.
   * @throws CacheError `storage`
   */
  make(host: string | undefined): Promise<void>;
}

/** The storage of one cache, before anybody has taken it. */
export interface CacheStorage extends Storage {
  /** Where it is, for people. */
  readonly label: string;
  readonly pushNetrc: PushNetrc;
  /**
   * Makes it that of this service, and usable. `onForget` is called when nothing in memory is to be believed any more.
   * @throws CacheError `startup`
   */
  take(onForget: () => void): Promise<{ release(): Promise<void> }>;
  /** @throws CacheError `startup` if there is none to be read */
  check(): Promise<void>;
  /** @throws CacheError `startup` if it can't be made */
  create(): Promise<void>;
  /** Whether it lies in that folder. */
  isIn(folder: string): Promise<boolean>;
}
