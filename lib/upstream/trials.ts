// When somebody who is believed dead is tried with a real request, at growing distances: for what no timer can look at.
import type { Clock } from './breaker.ts';

const FIRST_MS = 1000;
const LONGEST_MS = 10_000;

export class Trials {
  readonly #clock: Clock;
  #distanceMs = FIRST_MS;
  #last = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** It has just shown that it fails. */
  begin(): void {
    this.#last = this.#clock.now();
  }

  /** Whether it is time; then it is not again for a while. */
  take(): boolean {
    const now = this.#clock.now();
    if (now < this.#last + this.#distanceMs) return false;
    this.#last = now;
    this.#distanceMs = Math.min(2 * this.#distanceMs, LONGEST_MS);
    return true;
  }

  calm(): void {
    this.#distanceMs = FIRST_MS;
  }
}
