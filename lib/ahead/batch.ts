// What one client asked the narinfos of, one soon after the other: the NARs it is likely to load, once it has loaded the first. They are
// had a little ahead of it: as many as it takes to never have it wait, and no more, as it may be ended at any moment.
import type { NarName } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { Kin } from './kin.ts';
import { type Member, ordersOf } from './orders.ts';

/** A NAR that may be loaded next. */
export interface Expected extends Member {
  readonly narName: NarName;
  /** Of the file, as its narinfo says. */
  readonly bytes: number;
}

/** NARs and bytes that are ahead of a client at first, and at most. */
const FIRST = 64;
const MOST = 2048;
const FIRST_BYTES = 32 << 20;
const MOST_BYTES = 256 << 20;
/** How many more they become when a client waits for one that is on its way. */
const LATE = 4;
/** How many times as many when it asks for one that was not expected so soon. */
const MISSED = 1.25;
/** At most so many more for each that it has asked for. */
const SHARE = 1 / 8;
/** How many closures it may begin one by one; after that all that it asked about is expected. */
const MOST_BEGINS = 64;
/** Beyond this a guess is no worse. */
const FAR = 256;
/** What the last guess counts for, of all. */
const WEIGHT = 1 / 16;

export class Batch {
  readonly #asked = new Map<StoreHash, number>();
  #begun: Promise<Plan> | undefined;
  #plan: Plan | undefined;

  get size(): number {
    return this.#asked.size;
  }

  /** Whether its NARs are being loaded: whatever is asked for from now on is of another occasion. */
  get isBegun(): boolean {
    return this.#begun !== undefined;
  }

  /** Undefined while it is not known yet. */
  get plan(): Plan | undefined {
    return this.#plan;
  }

  /** The client has asked for the narinfo. */
  add(hash: StoreHash, now: number): void {
    this.#asked.set(hash, now);
  }

  has(hash: StoreHash): boolean {
    return this.#asked.has(hash);
  }

  /**
   * The client asks for the first of its NARs: those are to come whose narinfos it asked for after `then`. Undefined if it did not
   * ask for that one since.
   */
  begin(
    hash: StoreHash,
    then: number,
    expected: (hash: StoreHash) => Promise<Expected | undefined>,
  ): Promise<Plan> | undefined {
    if (this.#begun === undefined && (this.#asked.get(hash) ?? Number.NEGATIVE_INFINITY) < then)
      return undefined;
    this.#begun ??= this.#begin(then, expected);
    return this.#begun;
  }

  async #begin(then: number, expected: (hash: StoreHash) => Promise<Expected | undefined>): Promise<Plan> {
    const recent = [...this.#asked].filter(([, at]) => at >= then);
    // One that can't be read is not expected.
    const all = await Promise.all(recent.map(([hash]) => expected(hash).catch(() => undefined)));
    this.#plan = new Plan(all.filter((one) => one !== undefined));
    return this.#plan;
  }
}

interface Guess {
  readonly order: readonly StoreHash[];
  readonly at: ReadonlyMap<StoreHash, number>;
  /** Of those before it, all have been asked for or are ahead. */
  next: number;
  /** Of those before it, all have been asked for. */
  front: number;
  /** How far from its front those stood that were asked for, of late. */
  off: number;
}

/** Which NARs are had ahead of the client, and which come next. */
export class Plan {
  readonly #expected: ReadonlyMap<StoreHash, Expected>;
  readonly #kin: Kin;
  /** Those that belong to what the client has begun to load. */
  readonly #begun = new Set<StoreHash>();
  #guesses: readonly Guess[] = [];
  #begins = 0;
  readonly #taken = new Set<StoreHash>();
  /** Those that are here or on their way, and that the client has not asked for. */
  readonly #ahead = new Set<StoreHash>();
  #aheadBytes = 0;
  #most = FIRST;
  #mostBytes = FIRST_BYTES;

  constructor(expected: readonly Expected[]) {
    this.#expected = new Map(expected.map((one) => [one.hash, one]));
    this.#kin = new Kin(expected);
  }

  /**
   * The client loads one of another closure than before, of those that it asked about on this occasion: what belongs to that is to come
   * too. What it only looked at, or had pushed, it has not begun.
   */
  #begin(hash: StoreHash): void {
    if (this.#begun.has(hash)) return;
    const isTooOften = ++this.#begins > MOST_BEGINS;
    const before = this.#begun.size;
    for (const one of isTooOften ? this.#expected.keys() : this.#kin.of(hash)) this.#begun.add(one);
    // One that stands alone changes nothing.
    if (this.#begun.size - before === 1 && before > 0) return;
    const members = [...this.#begun].map((one) => this.#expected.get(one) as Expected);
    this.#guesses = ordersOf(members).map((order, index) => {
      const at = new Map(order.map((one, place) => [one, place]));
      return { order, at, next: 0, front: 0, off: this.#guesses[index]?.off ?? 0 };
    });
  }

  /** The client asks for it; `isLate`: it is on its way. */
  take(hash: StoreHash, isLate: boolean): void {
    if (!this.#expected.has(hash) || this.#taken.has(hash)) return;
    this.#taken.add(hash);
    this.#begin(hash);
    for (const guess of this.#guesses) {
      const place = guess.at.get(hash);
      if (place === undefined) continue;
      while (this.#taken.has(guess.order[guess.front] as StoreHash) && guess.order[guess.front] !== hash)
        guess.front++;
      const off = Math.min(Math.abs(place - guess.front), FAR);
      guess.off += (off - guess.off) * (this.#taken.size === 1 ? 1 : WEIGHT);
      while (this.#taken.has(guess.order[guess.front] as StoreHash)) guess.front++;
    }
    if (this.#drop(hash)) {
      if (isLate) this.#most = Math.min(this.#most + LATE, MOST);
      return;
    }
    // The first one nobody could expect.
    if (this.#taken.size === 1) return;
    this.#most = Math.min(Math.ceil(this.#most * MISSED), MOST);
    this.#mostBytes = Math.min(this.#mostBytes * MISSED, MOST_BYTES);
  }

  /** The next one to be had ahead of the client, from now on counted as such; undefined while enough are. */
  next(): Expected | undefined {
    const [first, ...others] = this.#guesses;
    if (first === undefined) return undefined;
    const guess = others.reduce((best, one) => (one.off < best.off ? one : best), first);
    for (; guess.next < guess.order.length; guess.next++) {
      const hash = guess.order[guess.next] as StoreHash;
      if (this.#taken.has(hash) || this.#ahead.has(hash)) continue;
      const one = this.#expected.get(hash) as Expected;
      const fits = this.#aheadBytes + one.bytes <= this.#mostBytes && this.#ahead.size < this.#limit;
      // One that is larger than all that may be ahead is, alone.
      if (!fits && this.#ahead.size > 0) return undefined;
      this.#ahead.add(hash);
      this.#aheadBytes += one.bytes;
      return one;
    }
    return undefined;
  }

  /** However late they come: a client that is ended leaves them all behind. */
  get #limit(): number {
    return Math.min(this.#most, FIRST + Math.floor(this.#taken.size * SHARE));
  }

  /** It was not had after all, and may be the next again. */
  putBack(hash: StoreHash): void {
    if (!this.#drop(hash)) return;
    for (const guess of this.#guesses) guess.next = Math.min(guess.next, guess.at.get(hash) ?? guess.next);
  }

  #drop(hash: StoreHash): boolean {
    if (!this.#ahead.delete(hash)) return false;
    this.#aheadBytes -= this.#expected.get(hash)?.bytes ?? 0;
    return true;
  }
}
