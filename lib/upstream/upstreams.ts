// The upstreams in their order of preference, and the one rule for asking several: the first that has it answers. It
// is missing only if somebody who is believed to work said so and nobody who is believed to work failed. Those who
// are believed dead are not asked, unless nobody else is left who could have it.
import type { Deadlines } from '../config/config.ts';
import { CacheError, describe, isCacheError, lacksDescriptors } from '../errors.ts';
import { type Log, warnSeldom } from '../log.ts';
import { Until } from '../sync/until.ts';
import type { Resolver } from '../wire/resolve.ts';
import { type Ask, race } from './race.ts';
import { Postponement } from './standing.ts';
import type { Upstream } from './upstream.ts';
import { newInstance } from './via.ts';

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
export interface Wanted<T> {
  /**
   * Whether the next is asked before the one before has answered: of narinfos after a short while, of NARs after
   * `first_byte_timeout`, of anything else never.
   */
  readonly kind: 'narinfo' | 'nar' | 'other';
  /** A miss is remembered under this path; undefined for what is not to be remembered. */
  readonly path: string | undefined;
  /** Called when all candidates have been asked and all have said no. */
  readonly whenMissing?: () => void;
  /** Gets an answer that comes when another has won. */
  readonly discard?: (answer: T) => void;
  /** Aborted when nobody wants it any more, at the latest with the service's. */
  readonly signal?: AbortSignal;
}

export interface UpstreamsOptions {
  readonly hedgeDelayMs: number;
  readonly deadlines: Deadlines;
  readonly negativeTtlMs: number;
  readonly onUpstreamError: 'error' | 'miss';
  readonly log: Log;
  /** What this service calls itself towards others of its kind. */
  readonly self?: string;
  /** Finds the addresses of their names. */
  readonly resolver?: Resolver;
  /** Ends everything when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** How one lookup goes. */
interface Lookup<T> extends Wanted<T> {
  readonly large: boolean;
  readonly signal: AbortSignal;
  /** Who was asked in vain, and why. */
  readonly failed: { readonly candidate: Candidate<T>; readonly error: unknown }[];
}

/** How long a miss is remembered at most while somebody who may have it is believed dead. */
const UNSURE_MS = 3000;
/** Each takes some hundred bytes. */
const MOST_MISSES = 100_000;

export class Upstreams {
  readonly all: readonly Upstream[];
  /** See {@link UpstreamsOptions}. */
  readonly self: string;
  /**
   * What they all lack, by path: clients ask for many paths that nobody has, and often. It is looked at after the store, so that it
   * hides nothing that is there, and a path must be forgotten when somebody puts it there.
   */
  readonly misses: Until;
  readonly #options: UpstreamsOptions;
  readonly #warnSeldom: ReturnType<typeof warnSeldom>;

  constructor(all: readonly Upstream[], options: UpstreamsOptions) {
    this.all = all;
    this.self = options.self ?? newInstance();
    this.misses = new Until(options.now, options.negativeTtlMs, MOST_MISSES);
    this.#options = options;
    this.#warnSeldom = warnSeldom(options.log);
  }

  /** The upstream that stored objects call by this origin, if it is still configured. */
  byOrigin(origin: string): Upstream | undefined {
    return this.all.find((upstream) => upstream.url === origin);
  }

  /**
   * The first good answer of the candidates; undefined if they have no such thing, or, where the configuration says
   * so, if that can't be told.
   * @throws CacheError the failure of the one that failed, or `timeout` or `upstream` for several
   */
  async first<T>(candidates: readonly Candidate<T>[], wanted: Wanted<T>): Promise<T | undefined> {
    const { path, whenMissing } = wanted;
    if (path !== undefined && this.misses.has(path)) return undefined;
    const { signal = this.#options.signal } = wanted;
    const lookup: Lookup<T> = { ...wanted, signal, large: wanted.kind === 'nar', failed: [] };
    const usable = candidates.filter(
      (one) => believes(one, lookup) || (lookup.large && one.upstream.health.tries()),
    );
    const found = await this.#ask(usable, lookup, false);
    if (found !== undefined) return found;
    const passedOver = candidates.filter(
      (one) =>
        !usable.includes(one) ||
        lookup.failed.some(({ candidate, error }) => candidate === one && error instanceof Postponement),
    );
    const { found: late, unasked } = await this.#askLast(passedOver, candidates, lookup);
    if (late !== undefined) return late;
    return this.#settle(candidates, unasked, lookup, whenMissing);
  }

  /** Nobody of `candidates` has it: whether that is a miss. */
  #settle<T>(
    candidates: readonly Candidate<T>[],
    unasked: readonly Candidate<T>[],
    { failed, large, path }: Lookup<T>,
    whenMissing: (() => void) | undefined,
  ): undefined {
    const answered = candidates.length - unasked.length - failed.length;
    const lost = unasked.filter(({ certain, upstream }) => certain || upstream.required || answered === 0);
    const failures = [...failed, ...lost.map((one) => ({ candidate: one, error: whyNot(one, large) }))];
    if (failures.length > 0) {
      const required = failures.some(({ candidate }) => candidate.upstream.required);
      return this.fail(
        failures.map(({ error }) => error),
        required,
      );
    }
    const sure = unasked.length === 0;
    const { negativeTtlMs } = this.#options;
    if (path !== undefined)
      this.misses.set(path, true, sure ? negativeTtlMs : Math.min(negativeTtlMs, UNSURE_MS));
    if (sure) whenMissing?.();
    return undefined;
  }

  async #ask<T>(
    candidates: readonly Candidate<T>[],
    lookup: Lookup<T>,
    insist: boolean,
  ): Promise<T | undefined> {
    const { discard, failed, large, signal } = lookup;
    const rank = ({ upstream: { health } }: Candidate<T>) => Number(!large && health.suspected);
    const order = [...candidates].sort((a, b) => rank(a) - rank(b));
    const asks = order.map((candidate): Ask<T> => {
      const ask = this.#suspecting(candidate, lookup);
      // Whose NARs are tried again is not believed yet.
      return believes(candidate, lookup) ? ask : (over) => ask(over, true);
    });
    const { found, failures } = await race(asks, {
      hedgeDelayMs: (index) => this.#delayOf(order[index] as Candidate<T>, lookup),
      signal,
      insist,
      ...(discard === undefined ? {} : { discard }),
      onFailure: (index, error) => this.#warn(order[index] as Candidate<T>, error),
    });
    if (found === undefined && signal.aborted) throw signal.reason;
    for (const { index, error } of failures) failed.push({ candidate: order[index] as Candidate<T>, error });
    return found;
  }

  #delayOf<T>(candidate: Candidate<T>, lookup: Lookup<T>): number {
    const { deadlines, hedgeDelayMs } = this.#options;
    if (lookup.kind === 'other') return Number.POSITIVE_INFINITY;
    // Whoever only tries again whether its NARs come must not keep a client waiting.
    return lookup.large && believes(candidate, lookup) ? deadlines.firstByteMs : hedgeDelayMs;
  }

  /**
   * Asks those whom nobody believes, as nobody else has it: those who may have come back, and those of whom only NARs, or what
   * they lead to, are in doubt. Who is dead itself is asked only if nobody else is alive, and if that does not take long.
   */
  async #askLast<T>(
    passedOver: readonly Candidate<T>[],
    all: readonly Candidate<T>[],
    lookup: Lookup<T>,
  ): Promise<{ found: T | undefined; unasked: readonly Candidate<T>[] }> {
    const { large, signal } = lookup;
    const alone = !all.some((one) => believes(one, lookup));
    let unasked = passedOver;
    const ask = async (chosen: readonly Candidate<T>[]) => {
      unasked = unasked.filter((one) => !chosen.includes(one));
      for (const one of chosen) drop(lookup.failed, one);
      return await this.#ask(chosen, lookup, true);
    };
    while (unasked.length > 0 && !signal.aborted) {
      const ready = unasked.filter(
        (one) => believes(one, lookup) || (large && one.upstream.health.reachable),
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
      await untilOneIs(() => unasked.some((one) => believes(one, lookup)), news);
      if (!unasked.some((one) => believes(one, lookup))) break;
    }
    const quick = alone ? unasked.filter(({ upstream }) => !upstream.health.silent) : [];
    const found = quick.length === 0 ? undefined : await ask(quick);
    return { found, unasked };
  }

  #warn<T>({ upstream }: Candidate<T>, error: unknown): void {
    const message = `upstream ${upstream.url}: ${describe(error)}`;
    if (lacksDescriptors(error)) this.#warnSeldom('descriptors', message);
    else if (error instanceof Postponement) this.#warnSeldom(upstream.url, message);
    else this.#options.log.warn(message);
  }

  /** The question of one candidate; should it be given up after a long silence, its health is looked into. */
  #suspecting<T>({ upstream, ask }: Candidate<T>, { large, path = '', signal }: Lookup<T>): Ask<T> {
    const { hedgeDelayMs, now } = this.#options;
    if (large) return ask;
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

  /**
   * What failures come to where nobody has it: undefined where the configuration takes them for a miss, unless one of them is
   * that of a `required` upstream.
   * @throws CacheError the failure of the one that failed, or `timeout` or `upstream` for several
   */
  fail(failures: readonly unknown[], required: boolean): undefined {
    const aborted = failures.find((failure) => isCacheError(failure, 'aborted'));
    if (aborted !== undefined) throw aborted;
    // What lies with us must not be remembered as a miss, whatever the configuration says of upstreams.
    const own = failures.find(lacksDescriptors);
    if (own !== undefined) throw own;
    if (this.#options.onUpstreamError === 'miss' && !required) return undefined;
    if (failures.length === 1) throw failures[0];
    const code = failures.every((failure) => isCacheError(failure, 'timeout')) ? 'timeout' : 'upstream';
    throw new CacheError(code, failures.map(describe).join('; '), failures[0]);
  }

  /** From now on nobody waits for name servers. */
  hurry(): void {
    this.#options.resolver?.hurry();
  }

  close(): void {
    for (const upstream of this.all) upstream.close();
  }
}

function believes<T>({ upstream, at }: Candidate<T>, { large }: Lookup<T>): boolean {
  return upstream.believes(at, large);
}

function drop<T>(failed: Lookup<T>['failed'], candidate: Candidate<T>): void {
  const index = failed.findIndex((one) => one.candidate === candidate);
  if (index >= 0) failed.splice(index, 1);
}

/** Waits for the first of `news` after which `is` holds, or for all of them. */
async function untilOneIs(is: () => boolean, news: readonly Promise<void>[]): Promise<void> {
  const checked = news.map(async (one) => {
    await one;
    if (!is()) throw new Error('no');
  });
  await Promise.any(checked).catch(() => {});
}

function whyNot({ upstream }: Candidate<unknown>, large: boolean): CacheError {
  return upstream.health.refusal(large);
}
