// Believes somebody, an upstream or a proxy, to be dead after a few failures in a row, so that nobody waits for it any
// more; believes it to be alive again at its first sign of life. Between the two it tells when to look again, at
// growing distances. It has no timer: time matters only when somebody asks.
import { type CacheError, describe } from '../errors.ts';
import type { Log } from '../log.ts';

/** Failures in a row that open it. */
const FAILURES = 3;
const FIRST_COOLDOWN_MS = 1000;
/** A probe costs nobody anything, but until it succeeds clients may go without: so no more than this. */
const LONGEST_COOLDOWN_MS = 60_000;

export class Breaker {
  readonly #name: string;
  readonly #log: Log;
  readonly #now: () => number;
  /** In a row. */
  #failures = 0;
  #cooldownMs = FIRST_COOLDOWN_MS;
  /** When to look again; undefined while it is closed. */
  #probeAt: number | undefined;
  #why: CacheError | undefined;
  #opened = 0;

  constructor(name: string, log: Log, now: () => number) {
    this.#name = name;
    this.#log = log;
    this.#now = now;
  }

  /** Whether there is a reason not to ask. */
  get open(): boolean {
    return this.#probeAt !== undefined;
  }

  /** Whether it is open and has been left alone for long enough. */
  get due(): boolean {
    return this.#probeAt !== undefined && this.#now() >= this.#probeAt;
  }

  /** The last failure; undefined before any. */
  get why(): CacheError | undefined {
    return this.#why;
  }

  /** How many times it has opened. */
  get opened(): number {
    return this.#opened;
  }

  failed(error: CacheError): void {
    if (this.#probeAt === undefined) {
      this.#why = error;
      this.#failures++;
      if (this.#failures >= FAILURES) this.trip(error);
    } else if (this.due) {
      this.#why = error;
      this.#cooldownMs = Math.min(2 * this.#cooldownMs, LONGEST_COOLDOWN_MS);
      this.#probeAt = this.#now() + this.#cooldownMs;
    }
    // Else a request that was sent before it opened has failed too, which is no news.
  }

  /** Opens it, however few failures there were. */
  trip(error: CacheError): void {
    if (this.#probeAt !== undefined) return;
    this.#why = error;
    this.#opened++;
    this.#probeAt = this.#now() + this.#cooldownMs;
    this.#log.warn(
      `${this.#name}: believed dead and not asked for ${this.#cooldownMs} ms: ${describe(error)}`,
    );
  }

  succeeded(): void {
    if (this.#probeAt === undefined) {
      this.#failures = 0;
      this.#cooldownMs = FIRST_COOLDOWN_MS;
      return;
    }
    this.#probeAt = undefined;
    // On probation: one sign of life closes it, but until the next one a failure opens it for longer.
    this.#failures = FAILURES - 1;
    this.#cooldownMs = Math.min(2 * this.#cooldownMs, LONGEST_COOLDOWN_MS);
    this.#log.info(`${this.#name}: alive again`);
  }
}

/** The breakers of one service: whoever asks for the same name shares one. */
export class Breakers {
  readonly now: () => number;
  readonly #log: Log;
  readonly #all = new Map<string, Breaker>();

  /** `now`: milliseconds from anywhere, never backwards. */
  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.now = now;
  }

  of(name: string): Breaker {
    const known = this.#all.get(name);
    if (known !== undefined) return known;
    const breaker = new Breaker(name, this.#log, this.now);
    this.#all.set(name, breaker);
    return breaker;
  }
}
