// The upstreams in their order of preference, and the one rule for asking several: the first that has it answers. It
// is missing only if somebody who is believed to work said so and nobody who is believed to work failed. Those who
// are believed dead are not asked, and count for nothing.
import { CacheError, describe, isCacheError, lacksDescriptors } from '../errors.ts';
import { type Log, warnSeldom } from '../log.ts';
import { Misses } from './misses.ts';
import { type Ask, race } from './race.ts';
import type { Upstream } from './upstream.ts';
import { newInstance } from './via.ts';

/** Something that may have what is looked for. */
interface Candidate<T> {
  readonly upstream: Upstream;
  /** Undefined if it says that it has no such thing; rejects if it can't tell. */
  readonly ask: Ask<T>;
  /** Whether it is known to have had it: then what it can't be asked for is not missing. */
  readonly certain?: boolean;
}

/** What is looked for, and how. */
interface Wanted {
  /** A miss is remembered under this path; undefined for what is not to be remembered. */
  readonly path: string | undefined;
  /** Whether to ask the next before the one before has answered; only for answers that need no cleaning up. */
  readonly hedge: boolean;
  /** Called when all candidates have been asked and all have said no. */
  readonly whenMissing?: () => void;
}

export interface UpstreamsOptions {
  readonly hedgeDelayMs: number;
  readonly negativeTtlMs: number;
  readonly onUpstreamError: 'error' | 'miss';
  readonly log: Log;
  /** What this service calls itself towards others of its kind. */
  readonly self?: string;
  /** Ends everything when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** How long a miss is remembered at most while somebody who may have it is believed dead. */
const UNSURE_MS = 3000;

export class Upstreams {
  readonly all: readonly Upstream[];
  /** See {@link UpstreamsOptions}. */
  readonly self: string;
  /** What they all lack. */
  readonly misses: Misses;
  readonly #options: UpstreamsOptions;
  readonly #warnSeldom: ReturnType<typeof warnSeldom>;

  constructor(all: readonly Upstream[], options: UpstreamsOptions) {
    this.all = all;
    this.self = options.self ?? newInstance();
    this.misses = new Misses(options.now);
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
  async first<T>(
    candidates: readonly Candidate<T>[],
    { path, hedge, whenMissing }: Wanted,
  ): Promise<T | undefined> {
    const { hedgeDelayMs, signal } = this.#options;
    if (path !== undefined && this.misses.has(path)) return undefined;
    const usable = await believed(candidates);
    if (usable.length === 0 && candidates.length > 0) return this.fail(candidates.map(whyNot));
    if (hedge)
      usable.sort((a, b) => Number(a.upstream.health.suspected) - Number(b.upstream.health.suspected));
    const asks = usable.map((candidate) => this.#suspecting(candidate));
    const { found, failures } = await race(asks, {
      hedgeDelayMs: hedge ? hedgeDelayMs : Number.POSITIVE_INFINITY,
      signal,
      onFailure: (index, error) =>
        this.#warn(`upstream ${usable[index]?.upstream.url}: ${describe(error)}`, error),
    });
    if (found !== undefined) return found;
    if (failures.length > 0) return this.fail(failures);
    const lost = candidates.filter((candidate) => candidate.certain && !usable.includes(candidate));
    if (lost.length > 0) return this.fail(lost.map(whyNot));
    const sure = usable.length === candidates.length;
    if (path !== undefined) this.misses.add(path, this.#rememberMs(sure));
    if (sure) whenMissing?.();
    return undefined;
  }

  #warn(message: string, error: unknown): void {
    if (lacksDescriptors(error)) this.#warnSeldom('descriptors', message);
    else this.#options.log.warn(message);
  }

  /** The question of one candidate; should it be given up after a long silence, its health is looked into. */
  #suspecting<T>({ upstream, ask }: Candidate<T>): Ask<T> {
    const { hedgeDelayMs, now, signal } = this.#options;
    return async (over, insist) => {
      const since = now();
      try {
        return await ask(over, insist);
      } catch (error) {
        if (over.aborted && !signal.aborted && now() - since >= hedgeDelayMs) upstream.health.suspect(since);
        throw error;
      }
    };
  }

  #rememberMs(sure: boolean): number {
    const { negativeTtlMs } = this.#options;
    return sure ? negativeTtlMs : Math.min(negativeTtlMs, UNSURE_MS);
  }

  /**
   * What failures come to where nobody has it: undefined where the configuration takes them for a miss.
   * @throws CacheError the failure of the one that failed, or `timeout` or `upstream` for several
   */
  fail(failures: readonly unknown[]): undefined {
    const aborted = failures.find((failure) => isCacheError(failure, 'aborted'));
    if (aborted !== undefined) throw aborted;
    // What lies with us must not be remembered as a miss, whatever the configuration says of upstreams.
    const own = failures.find(lacksDescriptors);
    if (own !== undefined) throw own;
    if (this.#options.onUpstreamError === 'miss') return undefined;
    if (failures.length === 1) throw failures[0];
    const code = failures.every((failure) => isCacheError(failure, 'timeout')) ? 'timeout' : 'upstream';
    throw new CacheError(code, failures.map(describe).join('; '), failures[0]);
  }

  close(): void {
    for (const upstream of this.all) upstream.close();
  }
}

/** Those to ask. If all are believed dead but one of them is just being looked at, that is worth waiting for. */
async function believed<T>(candidates: readonly Candidate<T>[]): Promise<Candidate<T>[]> {
  const usable = candidates.filter(({ upstream }) => upstream.health.mayAsk());
  if (usable.length > 0) return usable;
  const recovered = candidates.map(async (candidate) => {
    if (!(await candidate.upstream.health.recovers())) throw new Error('still dead');
  });
  await Promise.any(recovered).catch(() => {});
  return candidates.filter(({ upstream }) => upstream.health.good);
}

function whyNot({ upstream }: Candidate<unknown>): CacheError {
  return upstream.health.refusal(upstream.url);
}
