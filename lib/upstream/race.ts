// Asking several in their order of preference, without waiting long for any: the next is asked too when one fails,
// says no, or lets the hedge delay pass. The first good answer wins, and the others are given up.

/**
 * Undefined for no; rejects if that can't be told. Ends early, by rejecting, when the signal is aborted. `insist`: also of
 * somebody who is believed dead, as nobody else is left.
 */
export type Ask<T> = (signal: AbortSignal, insist: boolean) => Promise<T | undefined>;

interface Outcome<T> {
  /** The first good answer; undefined if there is none, or it was given up. */
  readonly found: T | undefined;
  /** Why those of the others failed that did. */
  readonly failures: readonly unknown[];
}

interface RaceOptions {
  /** Milliseconds; Infinity for one after the other. */
  readonly hedgeDelayMs: number;
  readonly signal: AbortSignal;
  /** See {@link Ask}. */
  readonly insist?: boolean;
  /** Told of each failure as it happens. */
  readonly onFailure: (index: number, error: unknown) => void;
}

/** Never rejects. */
export function race<T>(asks: readonly Ask<T>[], options: RaceOptions): Promise<Outcome<T>> {
  const { hedgeDelayMs, insist = false, signal, onFailure } = options;
  return new Promise((resolve) => {
    const failures: unknown[] = [];
    const over = new AbortController();
    let asked = 0;
    let running = 0;
    let timer: NodeJS.Timeout | undefined;

    const finish = (found: T | undefined) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      resolve({ found, failures });
      over.abort(new Error('another has answered'));
    };
    const giveUp = () => {
      failures.push(signal.reason);
      finish(undefined);
    };
    const next = () => {
      clearTimeout(timer);
      const ask = asks[asked];
      if (ask === undefined) {
        if (running === 0) finish(undefined);
        return;
      }
      const index = asked++;
      running++;
      if (asked < asks.length && hedgeDelayMs !== Number.POSITIVE_INFINITY)
        timer = setTimeout(next, hedgeDelayMs);
      const settle = (answer: T | undefined) => {
        if (over.signal.aborted) return;
        running--;
        if (answer !== undefined) finish(answer);
        else next();
      };
      ask(over.signal, insist).then(settle, (error: unknown) => {
        if (over.signal.aborted) return;
        failures.push(error);
        onFailure(index, error);
        settle(undefined);
      });
    };
    // Removed by hand: a signal that lives as long as the process must not collect listeners.
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
    else next();
  });
}
