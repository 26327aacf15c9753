// What is believed of one upstream, from what its requests experience: whether to ask it. Its failures are
// its own or those of the proxy before it, which other upstreams may share; each has its breaker. While it is believed dead
// it is looked at: see looks.ts.
import { type CacheError, isCacheError, lacksDescriptors } from '../errors.ts';
import { type Breaker, type Clock, FAILURES } from './breaker.ts';
import { Looks } from './looks.ts';
import { Postponement, type Standing } from './standing.ts';
import { Trials } from './trials.ts';

/** A slow upstream that works is not looked at more often than this. */
const SUSPECT_MS = 10_000;

export class Health {
  readonly standing: Standing;
  readonly #proxy: Breaker | undefined;
  readonly #probe: () => Promise<unknown>;
  readonly #clock: Clock;
  readonly #looks: Looks;
  #answeredAt = Number.NEGATIVE_INFINITY;
  /** Names that it was silent about for long, since it last answered. */
  readonly #late = new Set<string>();
  #suspectedAt = Number.NEGATIVE_INFINITY;
  #suspected = false;
  readonly #trials: Trials;

  /** `probe` sends requests that report here only that something has come; it rejects unless that is a sign of life. */
  constructor(standing: Standing, proxy: Breaker | undefined, probe: () => Promise<unknown>, clock: Clock) {
    this.standing = standing;
    this.#proxy = proxy;
    this.#probe = probe;
    this.#clock = clock;
    this.#looks = new Looks(() => this.#look(), clock);
    this.#trials = new Trials(clock);
  }

  /** Whether the upstream and its proxy are believed to work. */
  get good(): boolean {
    return this.goodFor(false);
  }

  /** The same for what is large, or for what is not. */
  goodFor(large: boolean): boolean {
    return this.reachable && !this.standing.of(large).open;
  }

  /** Whether connections to it are believed to come about. */
  get reachable(): boolean {
    return !this.standing.host.open && this.hasWay;
  }

  /** Whether its proxy, if it has one, is believed to work. */
  get hasWay(): boolean {
    return this.#proxy?.open !== true;
  }

  #worst(large: boolean): Breaker {
    return this.#proxy?.open ? this.#proxy : this.standing.worst(large);
  }

  /** Why it is not {@link good}, or the last failure that told against it. */
  whyNot(large: boolean): CacheError | undefined {
    return this.#worst(large).why;
  }

  /** To be thrown instead of asking it. */
  refusal(large: boolean): Postponement {
    return new Postponement(`${this.standing.name} is believed dead`, this.whyNot(large));
  }

  /** Whether asking it in vain takes long. */
  get silent(): boolean {
    return this.#worst(false).silent;
  }

  /** Whether it is good, but being looked at because it was silent: better ask others before it. */
  get suspected(): boolean {
    return this.#suspected && this.good;
  }

  /** Whether its turn has come to show with a large answer that those come again; then nobody else's turn comes soon. */
  tries(): boolean {
    return this.reachable && this.#trials.take();
  }

  /**
   * Something to wait for, at most two seconds, after which it may be {@link good}; undefined if there is no such thing. `alone`:
   * nobody who is believed alive could answer instead.
   */
  news(alone: boolean): Promise<void> | undefined {
    return this.#looks.news(alone || !this.silent, this.silent);
  }

  /**
   * A request for `name` sent at `since` was given up because it took long, which proves nothing. After some such names, and
   * without any answer since, somebody looks, with all the time that the deadlines allow: a dead upstream would never be
   * known as such if others always answer first.
   */
  suspect(since: number, name: string): void {
    if (!this.good || this.#answeredAt >= since) return;
    this.#late.add(name);
    const now = this.#clock.now();
    if (this.#late.size < FAILURES || now - this.#suspectedAt < SUSPECT_MS) return;
    this.#late.clear();
    this.#suspectedAt = now;
    this.#suspected = true;
    this.#probe()
      .then(
        () => this.answered(),
        (error) => {
          // Any answer counts as a sign of life here: real requests will tell.
          if (!tells(error) || this.#answeredAt >= now) return;
          this.#breakerOf(error).trip(error);
          this.#changed();
        },
      )
      .finally(() => {
        this.#suspected = false;
      });
  }

  async #look(): Promise<void> {
    // Another upstream may have found out that the proxy works.
    if (this.good) return this.#changed();
    try {
      await this.#probe();
      this.standing.revived();
      this.#proxy?.succeeded();
    } catch (error) {
      if (tells(error)) this.#unrevived(error);
      throw error;
    } finally {
      this.#changed();
    }
  }

  #unrevived(error: CacheError): void {
    if (error.code === 'proxy' && this.#proxy !== undefined) {
      this.#proxy.failed(error, undefined);
      return;
    }
    // A request that came so far has come through the proxy.
    this.#proxy?.succeeded();
    this.standing.worst(false).failed(error, undefined);
  }

  /** The head of an answer has come, whatever it says. */
  answered(): void {
    this.headSeen();
    this.standing.host.succeeded();
    this.#proxy?.succeeded();
    this.#changed();
  }

  /** A head has come to a look. */
  headSeen(): void {
    this.#answeredAt = this.#clock.now();
    this.#late.clear();
  }

  /** An answer that can be believed has come as a whole. */
  delivered(large: boolean): void {
    this.standing.of(large).succeeded();
    if (large) this.#trials.calm();
    else this.#looks.calm();
    this.#changed();
  }

  /** `name` is of what was asked for; undefined if no connection could be made to ask. */
  failed(error: unknown, large: boolean, name: string | undefined): void {
    if (!tells(error)) return;
    if (this.#breakerOf(error) === this.#proxy) this.#proxy.failed(error, undefined);
    else {
      if (large && !this.standing.large.open) this.#trials.begin();
      this.standing.failed(error, large, name);
      // A request that got so far has come through the proxy, if it was just now.
      if (name === undefined) this.#proxy?.succeeded();
    }
    this.#changed();
  }

  #breakerOf(error: CacheError): Breaker {
    return error.code === 'proxy' && this.#proxy !== undefined ? this.#proxy : this.standing.host;
  }

  #changed(): void {
    if (this.good) this.#looks.end();
    else this.#looks.begin();
  }

  /** For good. */
  close(): void {
    this.#looks.close();
  }
}

/** Whether it tells against somebody else. */
export function tells(error: unknown): error is CacheError {
  return isCacheError(error) && error.code !== 'aborted' && !lacksDescriptors(error);
}
