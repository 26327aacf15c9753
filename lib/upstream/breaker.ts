// Believes somebody (an upstream, a host that its redirects lead to, a proxy) to be dead after a few failures, so that nobody
// waits for it any more; believes it to be alive again at its first sign of life. It counts different names: one object
// that is broken, however often it is asked for, says nothing about the others.
import { type CacheError, isCacheError, sharedIn } from '../errors.ts';
import type { Emit } from '../events.ts';
import { WayOut } from './way-out.ts';

/** So many names that failed, or connections that could not be made, with no success between them, open it. */
export const FAILURES = 3;

/** Time, which tests move by hand. */
export interface Clock {
  /** Milliseconds from anywhere, never backwards. */
  now(): number;
  /** Calls `run` after so long, unless what it answers is called before. The process lives on for it if somebody `waits`. */
  after(ms: number, run: () => void, waits: boolean): () => void;
}

export class Breaker {
  readonly #name: string;
  readonly #emit: Emit;
  readonly #clock: Clock;
  /** Of what failed since the last success; never more than open it. */
  readonly #names = new Set<string>();
  #unconnected = 0;
  readonly #counted = new WeakSet<Error>();
  /** Since when; undefined while it is closed. */
  #openSince: number | undefined;
  #why: CacheError | undefined;

  constructor(name: string, emit: Emit, clock: Clock) {
    this.#name = name;
    this.#emit = emit;
    this.#clock = clock;
  }

  /** Whether there is a reason not to ask. */
  get open(): boolean {
    return this.#openSince !== undefined;
  }

  /** Since when it is open. */
  get openSince(): number | undefined {
    return this.#openSince;
  }

  /** The last failure; undefined before any. */
  get why(): CacheError | undefined {
    return this.#why;
  }

  /** Whether the last failure was a silence: then asking takes long, and is in vain for all at once. */
  get silent(): boolean {
    const { code, cause } = this.#why ?? {};
    return code === 'timeout' || isCacheError(cause, 'timeout');
  }

  /** `name` is of what was asked for; undefined if it failed before it could be asked for. */
  failed(error: CacheError, name: string | undefined): void {
    this.#why = error;
    // Many may have been asked for over one connection that ended, or have waited for one that did not come about.
    const one = sharedIn(error);
    if (this.open || (one !== undefined && this.#counted.has(one))) return;
    if (one !== undefined) this.#counted.add(one);
    if (name === undefined) this.#unconnected++;
    else this.#names.add(name);
    if (this.#unconnected + this.#names.size >= FAILURES) this.trip(error);
  }

  /** Opens it, however few failures there were. */
  trip(error: CacheError): void {
    this.#why = error;
    if (this.open) return;
    this.#openSince = this.#clock.now();
    this.#forget();
    this.#emit({ kind: 'breaker-opened', name: this.#name, error });
  }

  succeeded(): void {
    this.#forget();
    if (this.#openSince === undefined) return;
    const ms = this.#clock.now() - this.#openSince;
    this.#openSince = undefined;
    this.#emit({ kind: 'breaker-closed', name: this.#name, ms });
  }

  #forget(): void {
    this.#names.clear();
    this.#unconnected = 0;
  }
}

/** What the breakers of one service share. */
export class Breakers {
  readonly clock: Clock;
  readonly #emit: Emit;
  readonly #proxies = new Map<string, Breaker>();
  readonly #waysOut = new Map<string, WayOut>();

  constructor(emit: Emit, now?: () => number, after: Clock['after'] = afterwards) {
    this.#emit = emit;
    this.clock = { now: now ?? (() => performance.now()), after };
  }

  make(name: string): Breaker {
    return new Breaker(name, this.#emit, this.clock);
  }

  /** The one of a proxy, which all upstreams behind it share. */
  ofProxy(label: string): Breaker {
    const known = this.#proxies.get(label) ?? this.make(`proxy ${label}`);
    this.#proxies.set(label, known);
    return known;
  }

  /** What a proxy leads to, which they all find out together. */
  wayOut(label: string): WayOut {
    const known = this.#waysOut.get(label) ?? new WayOut(`proxy ${label}`, this.#emit);
    this.#waysOut.set(label, known);
    return known;
  }
}

function afterwards(ms: number, run: () => void, waits: boolean): () => void {
  const timer = setTimeout(run, ms);
  if (!waits) timer.unref();
  return () => clearTimeout(timer);
}
