// What is believed of one upstream, from what its requests experience: whether to ask it, and a few numbers. Its
// failures are its own or those of the proxy before it, which other upstreams may share; each has its breaker.
import { CacheError, isCacheError, lacksDescriptors } from '../errors.ts';
import type { Breaker } from './breaker.ts';

/** For metrics; counted since the start. */
interface UpstreamStats {
  requests: number;
  /** Bytes of bodies, content codings undone. */
  bytes: number;
  /** Failures that tell against the upstream or its proxy, other than a 4xx. */
  failures: number;
  /** Narinfos that counted as none, as none of its keys has signed them. */
  unsigned: number;
  /** How many times it was believed dead; a dead proxy is not counted. */
  opened: number;
  /** Milliseconds from asking to the head of the answer: of the last one, and averaged over about the last ten. */
  latencyMs: { last: number | undefined; average: number | undefined };
}

/** A slow upstream that works is not looked at more often than this. */
const SUSPECT_MS = 10_000;

export class Health {
  readonly stats: UpstreamStats = {
    ...{ requests: 0, bytes: 0, failures: 0, unsigned: 0, opened: 0 },
    latencyMs: { last: undefined, average: undefined },
  };
  readonly #own: Breaker;
  readonly #proxy: Breaker | undefined;
  readonly #probe: () => Promise<unknown>;
  readonly #now: () => number;
  #answeredAt = Number.NEGATIVE_INFINITY;
  #suspectedAt = Number.NEGATIVE_INFINITY;
  #suspected = false;
  #probing: Promise<unknown> | undefined;

  /** `probe` sends a request that reports here like any other. */
  constructor(own: Breaker, proxy: Breaker | undefined, probe: () => Promise<unknown>, now: () => number) {
    this.#own = own;
    this.#proxy = proxy;
    this.#probe = probe;
    this.#now = now;
  }

  /** Whether the upstream and its proxy are believed to work. */
  get good(): boolean {
    return !this.#own.open && !this.#proxy?.open;
  }

  /** Why it is not {@link good}, or the last failure that told against it. */
  get why(): CacheError | undefined {
    return this.#proxy?.open ? this.#proxy.why : this.#own.why;
  }

  /** To be thrown instead of asking it; `name` is what it is called. */
  refusal(name: string): CacheError {
    const { why } = this;
    return new CacheError(why?.code ?? 'upstream', `${name} is believed dead`, why);
  }

  /** Whether it is good, but being looked at because it was silent: better ask others before it. */
  get suspected(): boolean {
    return this.#suspected && this.good;
  }

  /** Whether to ask it. If not, but it is time to look again, begins to do so; nobody need wait for that. */
  mayAsk(): boolean {
    if (this.good) return true;
    const breakers = [this.#own, this.#proxy].filter((one) => one?.open);
    if (breakers.every((one) => one?.due)) this.#look().catch(() => {});
    return false;
  }

  /** Waits for the look that is being taken, if any; whether it is good after that. */
  async recovers(): Promise<boolean> {
    await this.#probing?.catch(() => {});
    return this.good;
  }

  /**
   * A request sent at `since` was given up because it took long, which proves nothing: so somebody else looks, with
   * all the time that the deadlines allow. A dead upstream would never be known as such if others always answer first.
   */
  suspect(since: number): void {
    const now = this.#now();
    if (!this.good || this.#answeredAt >= since || now - this.#suspectedAt < SUSPECT_MS) return;
    this.#suspectedAt = now;
    this.#suspected = true;
    this.#look()
      .catch((error) => {
        if (!tells(error) || this.#answeredAt >= now) return;
        // Two requests in a row without an answer, the second with all its time.
        this.#blamed(error).trip(error);
        this.stats.opened = this.#own.opened;
      })
      .finally(() => {
        this.#suspected = false;
      });
  }

  #look(): Promise<unknown> {
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  /** The head of an answer has come, whatever it says. */
  answered(ms: number): void {
    this.#answeredAt = this.#now();
    const { latencyMs } = this.stats;
    latencyMs.last = ms;
    latencyMs.average =
      latencyMs.average === undefined ? ms : latencyMs.average + (ms - latencyMs.average) / 10;
  }

  received(bytes: number): void {
    this.stats.bytes += bytes;
  }

  /** An answer that can be believed has come as a whole. */
  delivered(): void {
    this.#own.succeeded();
    this.#proxy?.succeeded();
  }

  failed(error: unknown): void {
    if (!tells(error)) return;
    this.stats.failures++;
    this.#blamed(error).failed(error);
    // Whoever came so far has come through the proxy. A connection made long ago proves nothing of it, but then its
    // next failure opens it again.
    if (error.code !== 'proxy' && this.#proxy?.due) this.#proxy.succeeded();
    this.stats.opened = this.#own.opened;
  }

  #blamed(error: CacheError): Breaker {
    return error.code === 'proxy' && this.#proxy !== undefined ? this.#proxy : this.#own;
  }
}

/** Whether it tells against somebody else. */
function tells(error: unknown): error is CacheError {
  return isCacheError(error) && error.code !== 'aborted' && !lacksDescriptors(error);
}
