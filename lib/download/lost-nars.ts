// NARs that no upstream had when they were asked for, remembered for a while.
import type { NarName } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';

/** How long such a NAR is not believed to be anywhere. */
const LOST_MS = 10 * 60_000;
const MAX_LOST = 10_000;

export class LostNars {
  readonly #now: () => number;
  readonly #lost = new Map<StoreHash, { readonly narName: NarName; readonly until: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  add(hash: StoreHash, narName: NarName): void {
    if (this.#lost.size >= MAX_LOST) this.#lost.clear();
    this.#lost.set(hash, { narName, until: this.#now() + LOST_MS });
  }

  has(hash: StoreHash, narName: NarName): boolean {
    const lost = this.#lost.get(hash);
    return lost !== undefined && lost.narName === narName && lost.until > this.#now();
  }
}
