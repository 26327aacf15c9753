// Which of some paths belong together: those that need one of them, and all that these need.
import type { StoreHash } from '../nix/store-path.ts';
import type { Member } from './orders.ts';

export class Kin {
  readonly #needs = new Map<StoreHash, readonly StoreHash[]>();
  readonly #neededBy = new Map<StoreHash, StoreHash[]>();

  constructor(members: readonly Member[]) {
    for (const { hash, references } of members) this.#needs.set(hash, references);
    for (const { hash, references } of members)
      for (const one of references) {
        if (!this.#needs.has(one)) continue;
        const those = this.#neededBy.get(one);
        if (those === undefined) this.#neededBy.set(one, [hash]);
        else those.push(hash);
      }
  }

  /** It, what needs it, directly or not, and all that these need: the closures that it is in. */
  of(hash: StoreHash): ReadonlySet<StoreHash> {
    const tops = new Set([hash]);
    // A Set hands out what is added to it while one goes through it.
    for (const one of tops) for (const above of this.#neededBy.get(one) ?? []) tops.add(above);
    const all = new Set(tops);
    for (const one of all)
      for (const below of this.#needs.get(one) ?? []) if (this.#needs.has(below)) all.add(below);
    return all;
  }
}
