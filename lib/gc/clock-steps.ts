// Which file times, beside those of the last hour, may be of something used within it: the clock may have been set. A service that
// runs notices that by its steady clock, and knows what the times of before mean; one that has just begun can't know, but times of
// the future are of a clock that was set back.
import { CLOCKS_DIFFER_MS, type Stretch } from '../store/plan.ts';

/** While the clock was not set: wall time is steady time and `offset`. */
interface Epoch {
  readonly offset: number;
  /** By the steady clock, as wide as it may have been. */
  readonly from: number;
  to: number;
}

export class ClockSteps {
  readonly #forMs: number;
  readonly #wall: () => number;
  readonly #steady: () => number;
  readonly #begun: number;
  #former: Epoch[] = [];
  #now: Epoch;

  /** Times are of concern for `forMs` after what happened then. */
  constructor(forMs: number, wall: () => number = Date.now, steady: () => number = () => performance.now()) {
    this.#forMs = forMs;
    this.#wall = wall;
    this.#steady = steady;
    this.#begun = steady();
    this.#now = { offset: wall() - this.#begun, from: this.#begun, to: this.#begun };
  }

  /** To be called every few seconds; whether the clock was set since the last time. */
  look(): boolean {
    const at = this.#steady();
    const offset = this.#wall() - at;
    const wasSet = Math.abs(offset - this.#now.offset) > CLOCKS_DIFFER_MS;
    if (wasSet) {
      this.#former.push({ ...this.#now, to: at });
      this.#now = { offset, from: this.#now.to, to: at };
    }
    this.#now.to = at;
    this.#former = this.#former.filter(({ to }) => to > at - this.#forMs);
    return wasSet;
  }

  stretches(): Stretch[] {
    this.look();
    const at = this.#steady();
    const since = at - this.#forMs;
    const former = this.#former.map(({ from, offset, to }) => ({
      // The first stretch also covers files from before the service began.
      fromMs: Math.max(since, from === this.#begun ? since : from) + offset,
      toMs: to + offset + CLOCKS_DIFFER_MS,
    }));
    const future = { fromMs: this.#wall(), toMs: Number.POSITIVE_INFINITY };
    return this.#begun > since ? [...former, future] : former;
  }
}
