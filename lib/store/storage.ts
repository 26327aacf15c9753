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
