// Narinfos that upstreams give malformed, by their URLs. Once may be an accident on the way; when one is so again seconds later,
// it is damaged where it lies, and that upstream has no such narinfo: else one damaged object would be a failure for ever.

/** So far apart are two questions that are not of one accident. */
const APART_MS = 2000;
const REMEMBERED_MS = 10 * 60_000;
const MOST = 10_000;

export class Malformed {
  readonly #now: () => number;
  readonly #seen = new Map<string, { readonly since: number; last: number }>();

  /** `now`: milliseconds from anywhere. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** It has come malformed; whether it had so seconds ago. */
  again(url: string): boolean {
    const now = this.#now();
    const before = this.#seen.get(url);
    if (before !== undefined && now - before.last <= REMEMBERED_MS) {
      before.last = now;
      return now - before.since >= APART_MS;
    }
    if (this.#seen.size >= MOST) this.#seen.clear();
    this.#seen.set(url, { since: now, last: now });
    return false;
  }

  /** It has come as it should be. */
  forget(url: string): void {
    this.#seen.delete(url);
  }
}
