// Work on one thing by one at a time, in the order in which it was asked for.

export class Exclusive {
  /** The end of the last work that was asked for on a thing. */
  readonly #last = new Map<string, Promise<void>>();

  /** Runs `work` when all that was asked for earlier under `key` has ended, well or badly. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(work);
    const settled = turn.then(
      () => {},
      () => {},
    );
    this.#last.set(key, settled);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }
}
