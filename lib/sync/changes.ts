// What somebody waits for until it is otherwise: they look, wait for the next change, and look again. Nobody is told what has
// changed, so whoever tells need not know who waits, or for what.
import { type After, afterwards } from './within.ts';

/** What ends a wait though nothing has changed. */
interface Limit {
  readonly ms?: number;
  readonly signal?: AbortSignal;
  /** By whose clock, if not by the usual one. */
  readonly after?: After;
}

export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Has everybody look again who waits now. */
  tell(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next {@link tell}, after `ms`, or when the signal is aborted, whichever is first. Never rejects. */
  next({ after = afterwards, ms, signal }: Limit = {}): Promise<void> {
    return new Promise((resolve) => {
      let cancel = () => {};
      const wake = () => {
        cancel();
        signal?.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal?.addEventListener('abort', wake);
      if (signal?.aborted) wake();
      else if (ms !== undefined) cancel = after(ms, wake);
    });
  }
}
