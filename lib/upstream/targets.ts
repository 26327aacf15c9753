// The other origins that an upstream leads to, by redirects or by the URLs in its narinfos. Each has a standing of its own, so
// that one that is dead is known after a few failures, and the upstream is not blamed for it.
import type { Breakers } from './breaker.ts';
import { tells } from './health.ts';
import { Postponement, Standing } from './standing.ts';
import { Trials } from './trials.ts';

/** An upstream may name as many as it likes; the one used longest ago is forgotten. */
const MOST = 100;

export class Target {
  readonly standing: Standing;
  readonly #trials: Trials;

  constructor(name: string, breakers: Breakers) {
    this.standing = new Standing(name, breakers);
    this.#trials = new Trials(breakers.clock);
  }

  /**
   * Lets through whoever is to be asked. When it is time to try again, `peek` does so with what is wanted now, behind the back of
   * whoever wants it.
   * @throws CacheError if it is believed dead
   */
  admit(large: boolean, peek: () => Promise<unknown>): void {
    const { standing } = this;
    if (standing.good(large)) return;
    if (this.#trials.take()) {
      const revived = () => {
        standing.host.succeeded();
        standing.of(large).succeeded();
      };
      peek().then(revived, (error) => {
        if (tells(error)) standing.worst(large).failed(error, undefined);
      });
    }
    throw new Postponement(`${standing.name} is believed dead`, standing.worst(large).why);
  }

  failed(error: unknown, large: boolean, name: string | undefined): void {
    if (!tells(error)) return;
    const wasGood = this.standing.good(large);
    this.standing.failed(error, large, name);
    if (wasGood) this.#trials.begin();
  }

  delivered(large: boolean): void {
    this.standing.of(large).succeeded();
    this.#trials.calm();
  }
}

export class Targets {
  readonly #all = new Map<string, Target>();
  readonly #make: (origin: string) => Target;

  constructor(make: (origin: string) => Target) {
    this.#make = make;
  }

  at({ origin }: URL): Target {
    const target = this.#all.get(origin) ?? this.#make(origin);
    this.#all.delete(origin);
    this.#all.set(origin, target);
    const [oldest] = this.#all.keys();
    if (this.#all.size > MOST && oldest !== undefined) this.#all.delete(oldest);
    return target;
  }
}
