// A bound on how many may go on at once; the others wait in the order they came. `http.Agent` has such a bound, but
// it does not hold when sockets are made asynchronously, as they are behind proxies.

interface Waiting {
  readonly weight: number;
  readonly granted: () => void;
}

export class Slots {
  readonly #limit: number;
  readonly #outer: Slots | undefined;
  #free: number;
  readonly #waiting: Waiting[] = [];
  readonly #onCrowded = new Set<() => void>();

  /** Whoever has one of them has also one of `outer`, which others share. */
  constructor(limit: number, outer?: Slots) {
    this.#limit = limit;
    this.#free = limit;
    this.#outer = outer;
  }

  /**
   * Waits for a slot, or for as many as it weighs; whoever weighs more than all of them gets all. Rejects with the signal's
   * reason if that aborts first. Call what it answers, once, to give them back.
   */
  async acquire(signal: AbortSignal, weight = 1): Promise<() => void> {
    signal.throwIfAborted();
    const taken = Math.min(weight, this.#limit);
    if (this.#waiting.length === 0 && taken <= this.#free) this.#free -= taken;
    else await this.#wait(signal, taken);
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      this.#free += taken;
      this.#grant();
    };
    if (this.#outer === undefined) return release;
    try {
      const releaseOuter = await this.#outer.acquire(signal, weight);
      return () => {
        release();
        releaseOuter();
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Whether somebody waits. */
  get isCrowded(): boolean {
    return this.#waiting.length > 0 || this.#outer?.isCrowded === true;
  }

  /** Calls `listener` whenever somebody begins to wait. */
  whenCrowded(listener: () => void): void {
    this.#onCrowded.add(listener);
    this.#outer?.whenCrowded(listener);
  }

  /** The first in the queue goes first, even if a lighter one behind it would fit: else it might wait for ever. */
  #grant(): void {
    for (
      let [next] = this.#waiting;
      next !== undefined && next.weight <= this.#free;
      [next] = this.#waiting
    ) {
      this.#waiting.shift();
      this.#free -= next.weight;
      next.granted();
    }
  }

  #wait(signal: AbortSignal, weight: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const granted = () => {
        signal.removeEventListener('abort', aborted);
        resolve();
      };
      const waiting = { weight, granted };
      const aborted = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        // The one that gave up may have stood before one that fits.
        this.#grant();
        reject(signal.reason);
      };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', aborted, { once: true });
      for (const listener of this.#onCrowded) listener();
    });
  }
}
