// A bound on how many may go on at once; the others wait in the order they came, and those that are fetched ahead until nobody
// else does. `http.Agent` has such a bound, but it does not hold when sockets are made asynchronously, as they are behind proxies.
import { type Ahead, isAhead } from './ahead.ts';

interface Waiting {
  readonly weight: number;
  readonly granted: () => void;
}

/** What those that are fetched ahead leave for whoever comes next; of one slot, all. */
const RESERVE = 1 / 4;

export class Slots {
  readonly #limit: number;
  readonly #reserve: number;
  readonly #outer: Slots | undefined;
  /** Those that have this as `outer` and want idle ones of it. */
  readonly #inner = new Set<Slots>();
  #free: number;
  readonly #waiting: Waiting[] = [];
  readonly #ahead: Waiting[] = [];
  readonly #onCrowded = new Set<() => void>();

  /** Whoever has one of them has also one of `outer`, which others share. */
  constructor(limit: number, outer?: Slots) {
    this.#limit = limit;
    this.#reserve = Math.ceil(limit * RESERVE);
    this.#free = limit;
    this.#outer = outer;
  }

  /**
   * Waits for a slot, or for as many as it weighs; whoever weighs more than all of them gets all. What is fetched `ahead` takes only
   * what is idle, and leaves some of that. Rejects with the signal's reason if that aborts first. Call what it answers, once, to
   * give them back.
   */
  async acquire(signal: AbortSignal, weight = 1, ahead?: Ahead): Promise<() => void> {
    signal.throwIfAborted();
    if (isAhead(ahead)) {
      const idle = this.acquireIdle(weight) ?? (await this.#waitForIdle(signal, weight, ahead));
      if (idle !== undefined) return idle;
    }
    const taken = Math.min(weight, this.#limit);
    if (this.#waiting.length === 0 && taken <= this.#free) this.#free -= taken;
    else await this.#wait(signal, taken);
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      this.#giveBack(taken);
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

  /** What {@link acquire} answers, for what is idle and nobody waits for; undefined if there is none. */
  acquireIdle(weight = 1): (() => void) | undefined {
    if (this.#ahead.length > 0 || !this.#isIdle(weight)) return undefined;
    return this.#take(weight);
  }

  /** Whether somebody waits who is not ahead. */
  get isCrowded(): boolean {
    return this.#waiting.length > 0 || this.#outer?.isCrowded === true;
  }

  /** Calls `listener` whenever somebody begins to wait who is not ahead. */
  whenCrowded(listener: () => void): void {
    this.#onCrowded.add(listener);
    this.#outer?.whenCrowded(listener);
  }

  /** Whether so many may be taken though nobody waits for what they are for, here and of all that are shared. */
  #isIdle(weight: number): boolean {
    const taken = Math.min(weight, this.#limit);
    if (this.#waiting.length > 0 || this.#free - taken < this.#reserve) return false;
    const outer = this.#outer;
    return outer === undefined || outer.#isIdle(weight);
  }

  /** Whether so many could ever be {@link #isIdle}. */
  #mayBeIdle(weight: number): boolean {
    const outer = this.#outer;
    const isLess = Math.min(weight, this.#limit) <= this.#limit - this.#reserve;
    return isLess && (outer === undefined || outer.#mayBeIdle(weight));
  }

  /** Takes them here and of all that are shared, at once: who is ahead holds nothing while it waits. */
  #take(weight: number): () => void {
    const taken = Math.min(weight, this.#limit);
    this.#free -= taken;
    const outer = this.#outer;
    const releaseOuter = outer === undefined ? undefined : outer.#take(weight);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#giveBack(taken);
      releaseOuter?.();
    };
  }

  #giveBack(weight: number): void {
    this.#free += weight;
    this.#grant();
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
    this.#grantIdle();
  }

  #grantIdle(): void {
    for (let [next] = this.#ahead; next !== undefined && this.#isIdle(next.weight); [next] = this.#ahead) {
      this.#ahead.shift();
      next.granted();
    }
    for (const inner of this.#inner) inner.#grantIdle();
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

  /** Undefined once somebody waits for what it is for. */
  #waitForIdle(signal: AbortSignal, weight: number, ahead: Ahead): Promise<(() => void) | undefined> {
    const outer = this.#outer;
    return new Promise((resolve, reject) => {
      const end = () => {
        signal.removeEventListener('abort', aborted);
        forget();
        if (this.#ahead.length === 0 && outer !== undefined) outer.#inner.delete(this);
      };
      const granted = () => {
        end();
        resolve(this.#take(weight));
      };
      const waiting = { weight, granted };
      const leave = () => {
        const at = this.#ahead.indexOf(waiting);
        if (at >= 0) this.#ahead.splice(at, 1);
        end();
      };
      const aborted = () => {
        leave();
        this.#grantIdle();
        reject(signal.reason);
      };
      const forget = ahead.whenWanted(() => {
        leave();
        resolve(undefined);
        this.#grantIdle();
      });
      // What never fits would hold up all behind it: it waits to be wanted.
      if (this.#mayBeIdle(weight)) this.#ahead.push(waiting);
      if (outer !== undefined) outer.#inner.add(this);
      signal.addEventListener('abort', aborted, { once: true });
    });
  }
}
