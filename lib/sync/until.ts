// What is remembered until a time, by name, and of no more names than so many: the one that was set longest ago is forgotten
// first. In memory only.

const MOST = 10_000;

interface Entry<V> {
  readonly value: V;
  readonly until: number;
}

export class Until<V = true> {
  readonly #now: () => number;
  readonly #ms: number;
  readonly #most: number;
  /** The one that was set longest ago first. */
  readonly #entries = new Map<string, Entry<V>>();

  /** `now`: milliseconds from anywhere, never backwards; `ms`: for how long, where nothing else is said. */
  constructor(now: () => number, ms: number, most = MOST) {
    this.#now = now;
    this.#ms = ms;
    this.#most = most;
  }

  /** From now on, and in place of what was remembered under that name; for no time at all if `ms` is none. */
  set(name: string, value: V, ms = this.#ms): void {
    this.#entries.delete(name);
    if (ms <= 0) return;
    this.#entries.set(name, { value, until: this.#now() + ms });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#most && oldest !== undefined) this.#entries.delete(oldest);
  }

  /** The same, of what has nothing to be remembered but its name. */
  add(this: Until<true>, name: string): void {
    this.set(name, true);
  }

  /** Undefined if nothing is remembered, or not any more. */
  get(name: string): V | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    if (this.#now() < entry.until) return entry.value;
    this.#entries.delete(name);
    return undefined;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  forget(name: string): void {
    this.#entries.delete(name);
  }
}
