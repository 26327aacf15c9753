// Marks what is fetched before anybody has asked for it, until somebody does: whoever waits goes before it.

export class Ahead {
  #isWanted = false;
  readonly #listeners = new Set<() => void>();

  /** Whether somebody waits for it by now: then it is like anything else. */
  get isWanted(): boolean {
    return this.#isWanted;
  }

  /** Somebody waits for it from now on. */
  wanted(): void {
    this.#isWanted = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** Calls `listener` once when somebody begins to wait for it; what is answered takes that back. */
  whenWanted(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Whether nobody waits for it yet. */
export function isAhead(ahead: Ahead | undefined): ahead is Ahead {
  return ahead !== undefined && !ahead.isWanted;
}
