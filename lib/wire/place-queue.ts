// Who waits for a place on a connection to one server: first small requests and parts of large answers, then large answers, and after all
// of them what is fetched ahead, for as long as nobody waits for that.
import { type Ahead, isAhead } from '../sync/ahead.ts';
import type { Slots } from '../sync/slots.ts';
import type { Session } from './http2.ts';

/** `part`: of a large answer, which gains from a connection of its own. */
export type Size = 'small' | 'part' | 'large';
const SIZES: readonly Size[] = ['small', 'part', 'large'];

export interface Wish {
  readonly size: Size;
  /** Where a connection for it takes its slot, if it needs one. */
  readonly slots: Slots;
  readonly ahead: Ahead | undefined;
  readonly signal: AbortSignal;
}

/** A place for one request on a connection; given back when it has ended. */
export interface Place {
  readonly session: Session;
  readonly giveBack: () => void;
}

export interface Waiting extends Wish {
  /** Undefined: it is to be asked over HTTP/1.1. */
  readonly placed: (place: Place | undefined) => void;
  readonly failed: (error: unknown) => void;
}

interface Watcher {
  /** Somebody waits from now on, or is waited for though it was ahead. */
  entered(waiting: Waiting): void;
  /** Somebody waits no more, without a place. */
  left(): void;
}

type Queues = Record<Size, Waiting[]>;

export class PlaceQueue {
  readonly #watcher: Watcher;
  readonly #waiting: Queues = { small: [], part: [], large: [] };
  readonly #ahead: Queues = { small: [], part: [], large: [] };

  constructor(watcher: Watcher) {
    this.#watcher = watcher;
  }

  get isEmpty(): boolean {
    return SIZES.every((size) => this.#waiting[size].length + this.#ahead[size].length === 0);
  }

  /** Whether a large answer waits that is not ahead. */
  get hasLarge(): boolean {
    return this.#waiting.large.length + this.#waiting.part.length > 0;
  }

  /** Waits; rejects with the signal's reason when that aborts first. */
  wait(wish: Wish): Promise<Place | undefined> {
    return new Promise((resolve, reject) => {
      const { ahead, signal, size } = wish;
      let queue = this.#waiting[size];
      let forget = () => {};
      const settle = () => {
        signal.removeEventListener('abort', aborted);
        forget();
      };
      const aborted = () => {
        const at = queue.indexOf(waiting);
        if (at >= 0) queue.splice(at, 1);
        settle();
        reject(signal.reason);
        this.#watcher.left();
      };
      const waiting: Waiting = {
        ...wish,
        placed: (place) => {
          settle();
          resolve(place);
        },
        failed: (error) => {
          settle();
          reject(error);
        },
      };
      const enter = () => {
        queue.push(waiting);
        this.#watcher.entered(waiting);
      };
      if (isAhead(ahead)) {
        queue = this.#ahead[size];
        forget = ahead.whenWanted(() => {
          queue.splice(queue.indexOf(waiting), 1);
          queue = this.#waiting[size];
          enter();
        });
      }
      signal.addEventListener('abort', aborted, { once: true });
      enter();
    });
  }

  /** Has `serve` take from the front of each queue those whose turn it is. */
  serve(serve: (queue: Waiting[]) => void): void {
    for (const size of SIZES) serve(this.#waiting[size]);
    const isCrowded = SIZES.some((size) => this.#waiting[size].length > 0);
    if (!isCrowded) for (const size of SIZES) serve(this.#ahead[size]);
  }

  /** Nobody waits any more: all are to be told so. */
  clear(tell: (waiting: Waiting) => void): void {
    const queues = SIZES.flatMap((size) => [this.#waiting[size], this.#ahead[size]]);
    for (const queue of queues) for (const waiting of queue.splice(0)) tell(waiting);
  }
}
