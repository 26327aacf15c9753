// NARs that no upstream had when they were asked for, remembered for a short while.
import type { NarName } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';

/**
 * How long such a NAR is not believed to be anywhere: long enough for whoever asks next to be told so at once, or to be given
 * another upstream's narinfo, and no longer, for it may have been away for a moment only.
 */
const LOST_MS = 5000;
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

  /** Whether that NAR of the path is lost; without a name, whether one is. */
  has(hash: StoreHash, narName?: NarName): boolean {
    const lost = this.#lost.get(hash);
    if (lost === undefined || lost.until <= this.#now()) return false;
    return narName === undefined || lost.narName === narName;
  }
}
