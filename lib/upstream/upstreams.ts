// The upstreams in their order of preference, and the one rule for asking several: the first that has it answers. It
// is missing only if somebody who is believed to work said so and nobody who is believed to work failed.
import type { Deadlines, UpstreamConfig } from '../config/config.ts';
import { CacheError, describe, isCacheError, lacksDescriptors } from '../errors.ts';
import type { Emit } from '../events.ts';
import { Until } from '../sync/until.ts';
import type { Resolver } from '../wire/resolve.ts';
import { type Candidate, type LookedFor, Lookup, type Outcome } from './lookup.ts';
import { Postponement } from './standing.ts';
import type { Upstream } from './upstream.ts';
import { newInstance } from './via.ts';

export interface UpstreamsOptions {
  readonly hedgeDelayMs: number;
  readonly deadlines: Pick<Deadlines, 'firstByteMs'>;
  readonly negativeTtlMs: number;
  readonly onUpstreamError: 'error' | 'miss';
  readonly emit: Emit;
  /** What this service calls itself towards others of its kind. */
  readonly self?: string;
  /** Finds the addresses of their names. */
  readonly resolver?: Resolver;
  /** Ends everything when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/**
 * What asking all of them comes to. `missing`: everybody says so, now or a short while ago; `unsure`: it counts as a miss, but
 * somebody who may have it was not asked, or failed where the configuration takes that for a miss.
 */
export type First<T> = Extract<Outcome<T>, { kind: 'found' }> | Nobody;
export type Nobody = { readonly kind: 'missing' | 'unsure' };

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
  readonly misses: Until<Nobody['kind']>;
  readonly #options: UpstreamsOptions;

  constructor(all: readonly Upstream[], options: UpstreamsOptions) {
    this.all = all;
    this.self = options.self ?? newInstance();
    this.misses = new Until(options.now, options.negativeTtlMs, MOST_MISSES);
    this.#options = options;
  }

  /** The upstream that stored objects call by this origin, if it is still configured. */
  byOrigin(origin: string): Upstream | undefined {
    return this.all.find((upstream) => upstream.url === origin);
  }

  /**
   * The first good answer of the candidates.
   * @throws CacheError the failure of the one that failed, or `timeout` or `upstream` for several
   */
  async first<T>(
    candidates: readonly Candidate<T>[],
    { signal = this.#options.signal, ...rest }: Omit<LookedFor<T>, 'signal'> & { signal?: AbortSignal },
  ): Promise<First<T>> {
    const { path } = rest;
    const remembered = path === undefined ? undefined : this.misses.get(path);
    if (remembered !== undefined) return { kind: remembered };
    const warn = (upstream: Upstream, error: unknown) => this.#warn(upstream, error);
    const outcome = await new Lookup(candidates, { ...rest, signal }, { ...this.#options, warn }).run();
    if (outcome.kind === 'failed') return this.fail(outcome.failures, outcome.required);
    if (outcome.kind !== 'found' && path !== undefined) {
      const { negativeTtlMs } = this.#options;
      const ms = outcome.kind === 'missing' ? negativeTtlMs : Math.min(negativeTtlMs, UNSURE_MS);
      this.misses.set(path, outcome.kind, ms);
    }
    return outcome;
  }

  #warn(upstream: Upstream, error: unknown): void {
    const postponed = error instanceof Postponement;
    this.#options.emit({ kind: 'upstream-failed', upstream: upstream.url, error, postponed });
  }

  /**
   * What failures come to where nobody has it: `unsure` where the configuration takes them for a miss, unless one of them is
   * that of a `required` upstream.
   * @throws CacheError the failure of the one that failed, or `timeout` or `upstream` for several
   */
  fail(failures: readonly unknown[], required: boolean): Nobody {
    const aborted = failures.find((failure) => isCacheError(failure, 'aborted'));
    if (aborted !== undefined) throw aborted;
    // A failure of our own must not be remembered as a miss, even with on_upstream_error = "miss".
    const own = failures.find(lacksDescriptors);
    if (own !== undefined) throw own;
    if (this.#options.onUpstreamError === 'miss' && !required) return { kind: 'unsure' };
    if (failures.length === 1) throw failures[0];
    const code = failures.every((failure) => isCacheError(failure, 'timeout')) ? 'timeout' : 'upstream';
    throw new CacheError(code, failures.map(describe).join('; '), failures[0]);
  }

  /** From now on these are the keys of those that were there already; whoever comes or goes waits for a new start. */
  reconfigure(configs: readonly UpstreamConfig[]): void {
    for (const config of configs) this.byOrigin(config.url)?.reconfigure(config);
  }

  /** See {@link Upstream.prepare}. */
  prepare(): void {
    for (const upstream of this.all) upstream.prepare();
  }

  /** From now on nobody waits for name servers. */
  hurry(): void {
    this.#options.resolver?.hurry();
  }

  close(): void {
    for (const upstream of this.all) upstream.close();
  }
}
