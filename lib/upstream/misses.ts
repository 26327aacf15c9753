// What the upstreams said they lack, remembered for a short while: clients ask for many paths that nobody has, and
// often. In memory only, and bounded. It is asked after the store, so it never hides what is there.

/** Each takes some hundred bytes. */
const MOST = 100_000;

export class Misses {
  /** Path → when to forget it; the oldest first. */
  readonly #until = new Map<string, number>();
  readonly #now: () => number;
  readonly #most: number;

  constructor(now: () => number, most = MOST) {
    this.#now = now;
    this.#most = most;
  }

  has(path: string): boolean {
    const until = this.#until.get(path);
    if (until === undefined) return false;
    if (this.#now() < until) return true;
    this.#until.delete(path);
    return false;
  }

  add(path: string, ms: number): void {
    if (ms <= 0) return;
    this.#until.delete(path);
    this.#until.set(path, this.#now() + ms);
    const [oldest] = this.#until.keys();
    if (this.#until.size > this.#most && oldest !== undefined) this.#until.delete(oldest);
  }

  /** Must be called when somebody puts the path into the store. */
  forget(path: string): void {
    this.#until.delete(path);
  }
}
