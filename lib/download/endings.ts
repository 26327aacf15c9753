// Downloads that have failed or were stopped, and are keeping what has come: whoever begins anew waits for that, as it goes on
// from there.
import { within } from '../sync/within.ts';

/** No disk needs so long that does not hang; then it begins from nothing. */
const LONGEST_MS = 5000;

export class Endings {
  readonly #ending = new Map<string, Promise<void>>();

  /** `ended` settles and never rejects. */
  add(path: string, ended: Promise<void>): void {
    this.#ending.set(path, ended);
    ended.finally(() => {
      if (this.#ending.get(path) === ended) this.#ending.delete(path);
    });
  }

  /** When nothing of `path` is being kept any more, or that takes too long. */
  async over(path: string): Promise<void> {
    const ended = this.#ending.get(path);
    if (ended !== undefined) await within(LONGEST_MS, ended);
  }

  /** When nothing is being kept. */
  async idle(): Promise<void> {
    await Promise.all(this.#ending.values());
  }
}
