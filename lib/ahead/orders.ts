// The orders in which clients load the NARs of a closure, references first (docs/protocol.md, section 4, "In flight"). Which of them a
// client follows shows in what it asks for.
import type { StoreHash } from '../nix/store-path.ts';

/** A path of a closure. */
export interface Member {
  readonly hash: StoreHash;
  readonly name: string;
  /** Hash parts of what it needs, which may be no members, or itself. */
  readonly references: readonly StoreHash[];
}

/** Each has all members once, whatever they refer to: of those that need each other some come before what they need. */
export function ordersOf(members: readonly Member[]): readonly (readonly StoreHash[])[] {
  const byHash = [...members].sort((a, b) => compare(a.hash, b.hash));
  const byName = [...byHash].sort((a, b) => compare(a.name, b.name));
  return [readyFirst(byName), queued(byHash), depthFirst(byHash)];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whom each is needed by, and how many of its own needs are still to come. */
class Needs {
  readonly #left: Map<StoreHash, number>;
  readonly #neededBy = new Map<StoreHash, StoreHash[]>();

  constructor(members: readonly Member[]) {
    this.#left = new Map(members.map(({ hash }) => [hash, 0]));
    for (const { hash, references } of members)
      for (const one of new Set(references)) {
        if (one === hash || !this.#left.has(one)) continue;
        this.#left.set(hash, (this.#left.get(hash) ?? 0) + 1);
        const those = this.#neededBy.get(one);
        if (those === undefined) this.#neededBy.set(one, [hash]);
        else those.push(hash);
      }
  }

  isReady(hash: StoreHash): boolean {
    return this.#left.get(hash) === 0;
  }

  /** It has come; those for which it was the last. */
  done(hash: StoreHash): StoreHash[] {
    const ready: StoreHash[] = [];
    for (const one of this.#neededBy.get(hash) ?? []) {
      const left = (this.#left.get(one) ?? 0) - 1;
      this.#left.set(one, left);
      if (left === 0) ready.push(one);
    }
    return ready;
  }
}

/** `nix build`: of those that have all they need the first by name. */
function readyFirst(members: readonly Member[]): StoreHash[] {
  const needs = new Needs(members);
  const rank = new Map(members.map(({ hash }, at) => [hash, at]));
  const hashes = members.map(({ hash }) => hash);
  const order = new Set<StoreHash>();
  const ready = new Heap();
  for (const [at, hash] of hashes.entries()) if (needs.isReady(hash)) ready.push(at);
  for (let at = ready.pop(); at !== undefined; at = ready.pop()) {
    const hash = hashes[at] as StoreHash;
    order.add(hash);
    for (const one of needs.done(hash)) ready.push(rank.get(one) as number);
  }
  return withRest(order, hashes);
}

/** `nix copy`, of late: those that need nothing by their hashes, then each when it has all it needs. */
function queued(members: readonly Member[]): StoreHash[] {
  const needs = new Needs(members);
  const hashes = members.map(({ hash }) => hash);
  const order = new Set(hashes.filter((hash) => needs.isReady(hash)));
  // A Set hands out what is added to it while one goes through it.
  for (const hash of order) for (const one of needs.done(hash)) order.add(one);
  return withRest(order, hashes);
}

/** `nix copy`, formerly: each by its hash, and before it what it needs. */
function depthFirst(members: readonly Member[]): StoreHash[] {
  const all = new Map(members.map((one) => [one.hash, one]));
  const order = new Set<StoreHash>();
  const entered = new Set<StoreHash>();
  // A stack of its own: closures may be deeper than the calls of a program.
  for (const { hash: start } of members) {
    const stack = [start];
    for (let hash = stack.at(-1); hash !== undefined; hash = stack.at(-1)) {
      if (entered.has(hash)) {
        order.add(hash);
        stack.pop();
        continue;
      }
      entered.add(hash);
      const needed = all.get(hash)?.references.filter((one) => all.has(one) && !entered.has(one)) ?? [];
      // Taken from the end of the stack.
      stack.push(...needed.sort(compare).reverse());
    }
  }
  return [...order];
}

/** Those that need each other are never ready. */
function withRest(order: ReadonlySet<StoreHash>, all: readonly StoreHash[]): StoreHash[] {
  return [...order, ...all.filter((hash) => !order.has(hash))];
}

/** The least first. */
class Heap {
  readonly #all: number[] = [];

  push(value: number): void {
    let at = this.#all.push(value) - 1;
    for (let up = (at - 1) >> 1; at > 0 && (this.#all[up] as number) > value; up = (at - 1) >> 1) {
      this.#all[at] = this.#all[up] as number;
      at = up;
    }
    this.#all[at] = value;
  }

  pop(): number | undefined {
    const [least] = this.#all;
    const last = this.#all.pop();
    if (least === undefined || last === undefined || this.#all.length === 0) return least;
    const { length } = this.#all;
    let at = 0;
    for (let down = 1; down < length; down = 2 * at + 1) {
      if (down + 1 < length && (this.#all[down + 1] as number) < (this.#all[down] as number)) down++;
      if ((this.#all[down] as number) >= last) break;
      this.#all[at] = this.#all[down] as number;
      at = down;
    }
    this.#all[at] = last;
    return least;
  }
}
