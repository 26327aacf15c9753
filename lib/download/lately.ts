// What has happened lately, by name: remembered for a fixed time, and of no more than so many.

export class Lately {
  readonly #now: () => number;
  readonly #ms: number;
  readonly #most: number;
  /** Until when; the oldest first. */
  readonly #until = new Map<string, number>();

  /** `now`: milliseconds from anywhere. */
  constructor(now: () => number, ms: number, most = 10_000) {
    this.#now = now;
    this.#ms = ms;
    this.#most = most;
  }

  add(name: string): void {
    this.#until.delete(name);
    this.#until.set(name, this.#now() + this.#ms);
    const [oldest] = this.#until.keys();
    if (this.#until.size > this.#most && oldest !== undefined) this.#until.delete(oldest);
  }

  forget(name: string): void {
    this.#until.delete(name);
  }

  has(name: string): boolean {
    const until = this.#until.get(name);
    if (until === undefined) return false;
    if (this.#now() < until) return true;
    this.#until.delete(name);
    return false;
  }
}
