// When somebody who is believed dead is looked at again: by a timer at growing distances, so that nobody's request is needed
// for that, and earlier if somebody needs the answer now.
import { within } from '../sync/within.ts';
import type { Clock } from './breaker.ts';

const FIRST_MS = 1000;
/** From the beginning of one look to that of the next, at most: so long after a recovery nobody can be misled any more. */
const LONGEST_MS = 10_000;
/** A look that is younger than this is not doubled by the timer. */
const YOUNG_MS = 5000;
/** Between two looks that were asked for: where looking takes long, and where it is over at once. */
const EAGER_MS = 1000;
const QUICK_MS = 250;
/** How old a look may be that is still worth waiting for. */
const PATIENCE_MS = 2000;
/** The same where silence has been the answer for a minute: whoever drops all packets must not cost each miss two seconds. */
const SHORT_PATIENCE_MS = 500;
const LONG_DEAD_MS = 60_000;

interface Look {
  readonly since: number;
  /** Never rejects. */
  readonly ended: Promise<void>;
  over: boolean;
}

export class Looks {
  readonly #look: () => Promise<unknown>;
  readonly #clock: Clock;
  #distanceMs = FIRST_MS;
  #from = 0;
  #last: Look | undefined;
  #cancel: (() => void) | undefined;
  #closed = false;

  /** `look` says elsewhere what it saw. */
  constructor(look: () => Promise<unknown>, clock: Clock) {
    this.#look = look;
    this.#clock = clock;
  }

  /** It is believed dead: from now on it is looked at. */
  begin(): void {
    if (this.#cancel !== undefined || this.#closed) return;
    this.#from = this.#clock.now();
    this.#last = undefined;
    this.#arm();
  }

  /** It is alive. Should it die soon again, the distances go on where they were. */
  end(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** It does what it is for, not just answer to a look. */
  calm(): void {
    this.#distanceMs = FIRST_MS;
  }

  #arm(): void {
    const look = () => {
      this.#distanceMs = Math.min(2 * this.#distanceMs, LONGEST_MS);
      this.#arm();
      const last = this.#last;
      if (last === undefined || last.over || this.#clock.now() - last.since >= YOUNG_MS) this.take();
    };
    this.#cancel = this.#clock.after(this.#distanceMs, look, false);
  }

  /** Looks now. */
  take(): Promise<void> {
    const since = this.#clock.now();
    const over = () => {
      look.over = true;
    };
    const ended = this.#closed ? Promise.resolve() : this.#look().then(over, over);
    const look: Look = { since, ended, over: this.#closed };
    this.#last = look;
    return ended;
  }

  /**
   * Somebody needs to know. Resolves with the look under way, or with one that is begun if it is time for it: early if that
   * costs little, which is `cheap`. Undefined if there is nothing worth waiting for.
   */
  news(cheap: boolean, silent: boolean): Promise<void> | undefined {
    const now = this.#clock.now();
    const eagerMs = silent ? EAGER_MS : QUICK_MS;
    const waitMs = cheap ? eagerMs : this.#distanceMs;
    const isDue =
      this.#last === undefined ? cheap || now >= this.#from + waitMs : now >= this.#last.since + waitMs;
    if ((this.#last === undefined || this.#last.over) && isDue) this.take();
    const last = this.#last;
    if (last === undefined || last.over) return undefined;
    const isLongDead = silent && !cheap && now - this.#from >= LONG_DEAD_MS;
    const leftMs = last.since + (isLongDead ? SHORT_PATIENCE_MS : PATIENCE_MS) - now;
    return leftMs > 0 ? within(leftMs, last.ended) : undefined;
  }

  /** For good. */
  close(): void {
    this.#closed = true;
    this.end();
  }
}
