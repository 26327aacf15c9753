// Asking several in their order of preference, without waiting long for any: the next is asked too when one fails, says no, or
// lets its delay pass. The first good answer wins, and the others are given up.
import { type Ahead, isAhead } from '../sync/ahead.ts';

/**
 * Undefined for no; rejects if that can't be told. Ends early, by rejecting, when the signal is aborted, which that of the
 * winner never is. `insist`: also of somebody who is believed dead, as nobody else is left.
 */
export type Ask<T> = (signal: AbortSignal, insist: boolean) => Promise<T | undefined>;

interface Outcome<T> {
  /** The first good answer; undefined if there is none, or it was given up. */
  readonly found: T | undefined;
  /** Why those of the others failed that did, with their places in the order. */
  readonly failures: readonly Failure[];
}

interface Failure {
  readonly index: number;
  readonly error: unknown;
}

interface RaceOptions<T> {
  /** Milliseconds, or those of each; Infinity for one after the other. */
  readonly hedgeDelayMs: number | ((index: number) => number);
  readonly signal: AbortSignal;
  /** Of what is fetched ahead: while nobody waits for it, no delay begins. */
  readonly ahead?: Ahead | undefined;
  /** See {@link Ask}. */
  readonly insist?: boolean;
  /** Told of each failure as it happens. */
  readonly onFailure: (index: number, error: unknown) => void;
  /** Gets a good answer that came too late, for it to be cleaned up. */
  readonly discard?: (answer: T) => void;
}

/** Never rejects. */
export function race<T>(asks: readonly Ask<T>[], options: RaceOptions<T>): Promise<Outcome<T>> {
  const { ahead, discard, hedgeDelayMs, insist = false, signal, onFailure } = options;
  const delayOf = typeof hedgeDelayMs === 'number' ? () => hedgeDelayMs : hedgeDelayMs;
  return new Promise((resolve) => {
    const failures: Failure[] = [];
    const running = new Set<AbortController>();
    let asked = 0;
    let over = false;
    let timer: NodeJS.Timeout | undefined;
    let unhurried = () => {};
    const settled = () => {
      clearTimeout(timer);
      unhurried();
    };

    const finish = (found: T | undefined) => {
      over = true;
      settled();
      signal.removeEventListener('abort', giveUp);
      resolve({ found, failures });
      for (const loser of running) loser.abort(new Error('another has answered'));
    };
    const giveUp = () => {
      finish(undefined);
    };
    const next = () => {
      settled();
      const ask = asks[asked];
      if (ask === undefined) {
        if (running.size === 0) finish(undefined);
        return;
      }
      const index = asked++;
      const controller = new AbortController();
      running.add(controller);
      const delayMs = delayOf(index);
      if (asked < asks.length && delayMs !== Number.POSITIVE_INFINITY) {
        const hurry = () => {
          timer = setTimeout(next, delayMs);
        };
        if (isAhead(ahead)) unhurried = ahead.whenWanted(hurry);
        else hurry();
      }
      const settle = (answer: T | undefined) => {
        if (over) {
          if (answer !== undefined) discard?.(answer);
          return;
        }
        running.delete(controller);
        if (answer !== undefined) finish(answer);
        else next();
      };
      ask(controller.signal, insist).then(settle, (error: unknown) => {
        if (over) return;
        failures.push({ index, error });
        onFailure(index, error);
        settle(undefined);
      });
    };
    // The listener is removed by hand: a signal that lives as long as the process must not collect listeners.
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
    else next();
  });
}
