// One lookup among upstreams: who is asked, in which order and how patiently. The first that has it answers. Those who are believed
// dead are not asked, unless nobody else is left who could have it.
import type { Deadlines } from '../config/config.ts';
import type { CacheError } from '../errors.ts';
import { type Ahead, isAhead } from '../sync/ahead.ts';
import { type Ask, race } from './race.ts';
import { Postponement } from './standing.ts';
import type { Upstream } from './upstream.ts';

/** Something that may have what is looked for. */
export interface Candidate<T> {
  readonly upstream: Upstream;
  /** Undefined if it says that it has no such thing; rejects if it can't tell. */
  readonly ask: Ask<T>;
  /** Whether it is known to have had it: then what it can't be asked for is not missing. */
  readonly certain?: boolean;
  /** The address that it is asked for, if that may be another origin's. */
  readonly at?: URL | undefined;
}

/** What is looked for, and how. */
export interface LookedFor<T> {
  /**
   * Whether the next is asked before the one before has answered: of narinfos after a short while, of NARs after
   * `first_byte_timeout`, of anything else never.
   */
  readonly kind: 'narinfo' | 'nar' | 'other';
  /** A miss is remembered under this path; undefined for what is not to be remembered. */
  readonly path: string | undefined;
  /** Gets an answer that comes when another has won. */
  readonly discard?: (answer: T) => void;
  /** Aborted when nobody wants it any more, at the latest with the service's. */
  readonly signal: AbortSignal;
  /** Of what is fetched ahead: while nobody waits for it, those who are believed dead are left alone. */
  readonly ahead?: Ahead | undefined;
}

export interface LookupOptions {
  readonly hedgeDelayMs: number;
  readonly deadlines: Pick<Deadlines, 'firstByteMs'>;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
  /** Told of each failure as it happens. */
  readonly warn: (upstream: Upstream, error: unknown) => void;
}

/** What a lookup comes to. */
export type Outcome<T> =
  | { readonly kind: 'found'; readonly value: T }
  /** Everybody was asked, and said no. */
  | { readonly kind: 'missing' }
  /** Whoever was asked said no; somebody was not asked who may have it. */
  | { readonly kind: 'unsure' }
  /** Nobody has it, and somebody who counts could not tell. `required`: one whom the configuration calls so. */
  | { readonly kind: 'failed'; readonly failures: readonly unknown[]; readonly required: boolean };

export class Lookup<T> {
  readonly #all: readonly Candidate<T>[];
  readonly #lookedFor: LookedFor<T>;
  readonly #options: LookupOptions;
  readonly #large: boolean;
  /** Who was asked in vain, and why. */
  readonly #failed = new Map<Candidate<T>, unknown>();

  constructor(all: readonly Candidate<T>[], lookedFor: LookedFor<T>, options: LookupOptions) {
    this.#all = all;
    this.#lookedFor = lookedFor;
    this.#options = options;
    this.#large = lookedFor.kind === 'nar';
  }

  /** Rejects with the signal's reason if that is aborted; never otherwise. */
  async run(): Promise<Outcome<T>> {
    const usable = this.#all.filter(
      (one) => this.#believes(one) || (this.#large && one.upstream.health.tries()),
    );
    const found = await this.#ask(usable, false);
    if (found !== undefined) return { kind: 'found', value: found };
    const passedOver = this.#all.filter(
      (one) => !usable.includes(one) || this.#failed.get(one) instanceof Postponement,
    );
    const { ahead } = this.#lookedFor;
    if (passedOver.length > 0 && isAhead(ahead))
      return { kind: 'failed', failures: passedOver.map((one) => this.#whyNot(one)), required: true };
    const { found: late, unasked } = await this.#askLast(passedOver);
    if (late !== undefined) return { kind: 'found', value: late };
    return this.#settle(unasked);
  }

  /** Nobody has it of those who were asked: what that comes to. */
  #settle(unasked: readonly Candidate<T>[]): Outcome<T> {
    const answered = this.#all.length - unasked.length - this.#failed.size;
    const lost = unasked.filter(({ certain, upstream }) => certain || upstream.required || answered === 0);
    const failures = [...this.#failed.values(), ...lost.map((one) => this.#whyNot(one))];
    if (failures.length === 0) return { kind: unasked.length === 0 ? 'missing' : 'unsure' };
    const required = [...this.#failed.keys(), ...lost].some(({ upstream }) => upstream.required);
    return { kind: 'failed', failures, required };
  }

  async #ask(candidates: readonly Candidate<T>[], insist: boolean): Promise<T | undefined> {
    const { ahead, discard, signal } = this.#lookedFor;
    const rank = ({ upstream: { health } }: Candidate<T>) => Number(!this.#large && health.suspected);
    const order = [...candidates].sort((a, b) => rank(a) - rank(b));
    const asks = order.map((candidate): Ask<T> => {
      const ask = this.#suspecting(candidate);
      // An upstream whose NARs are tried again is not believed yet.
      return this.#believes(candidate) ? ask : (over) => ask(over, true);
    });
    const { found, failures } = await race(asks, {
      hedgeDelayMs: (index) => this.#delayOf(order[index] as Candidate<T>),
      signal,
      ahead,
      insist,
      ...(discard === undefined ? {} : { discard }),
      onFailure: (index, error) => this.#options.warn((order[index] as Candidate<T>).upstream, error),
    });
    if (found === undefined && signal.aborted) throw signal.reason;
    for (const { index, error } of failures) this.#failed.set(order[index] as Candidate<T>, error);
    return found;
  }

  #delayOf(candidate: Candidate<T>): number {
    const { deadlines, hedgeDelayMs } = this.#options;
    if (this.#lookedFor.kind === 'other') return Number.POSITIVE_INFINITY;
    // A mere trial of an upstream's NARs must not keep a client waiting.
    return this.#large && this.#believes(candidate) ? deadlines.firstByteMs : hedgeDelayMs;
  }

  /**
   * Asks those whom nobody believes, as nobody else has it: those who may have come back, and those of whom only NARs, or what
   * they lead to, are in doubt. Who is dead itself is asked only if nobody else is alive, and if that does not take long.
   */
  async #askLast(
    passedOver: readonly Candidate<T>[],
  ): Promise<{ found: T | undefined; unasked: readonly Candidate<T>[] }> {
    const { signal } = this.#lookedFor;
    const alone = !this.#all.some((one) => this.#believes(one));
    let unasked = passedOver;
    const ask = async (chosen: readonly Candidate<T>[]) => {
      unasked = unasked.filter((one) => !chosen.includes(one));
      for (const one of chosen) this.#failed.delete(one);
      return await this.#ask(chosen, true);
    };
    while (unasked.length > 0 && !signal.aborted) {
      const ready = unasked.filter(
        (one) => this.#believes(one) || (this.#large && one.upstream.health.reachable),
      );
      if (ready.length > 0) {
        const found = await ask(ready);
        if (found !== undefined) return { found, unasked };
        continue;
      }
      const news = unasked
        .map(({ upstream }) => upstream.health.news(alone))
        .filter((one) => one !== undefined);
      if (news.length === 0) break;
      await untilOneIs(() => unasked.some((one) => this.#believes(one)), news);
      if (!unasked.some((one) => this.#believes(one))) break;
    }
    const quick = alone ? unasked.filter(({ upstream }) => !upstream.health.silent) : [];
    const found = quick.length === 0 ? undefined : await ask(quick);
    return { found, unasked };
  }

  /** The question of one candidate; should it be given up after a long silence, its health is looked into. */
  #suspecting({ upstream, ask }: Candidate<T>): Ask<T> {
    const { hedgeDelayMs, now } = this.#options;
    const { path = '', signal } = this.#lookedFor;
    if (this.#large) return ask;
    return async (over, insist) => {
      const since = now();
      try {
        return await ask(over, insist);
      } catch (error) {
        if (over.aborted && !signal.aborted && now() - since >= hedgeDelayMs)
          upstream.health.suspect(since, path);
        throw error;
      }
    };
  }

  #believes({ upstream, at }: Candidate<T>): boolean {
    return upstream.believes(at, this.#large);
  }

  #whyNot({ upstream }: Candidate<T>): CacheError {
    return upstream.health.refusal(this.#large);
  }
}

/** Waits for the first of `news` after which `is` holds, or for all of them. */
async function untilOneIs(is: () => boolean, news: readonly Promise<void>[]): Promise<void> {
  const checked = news.map(async (one) => {
    await one;
    if (!is()) throw new Error('no');
  });
  await Promise.any(checked).catch(() => {});
}
