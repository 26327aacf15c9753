// Narinfos that upstreams give malformed, by their URLs. Once may be an accident on the way; when one is so again seconds later,
// it is damaged where it lies, and that upstream has no such narinfo: else one damaged object would be a failure for ever.
import { Until } from '../sync/until.ts';

/** So far apart are two questions that are not of one accident. */
const APART_MS = 2000;
const REMEMBERED_MS = 10 * 60_000;

export class Malformed {
  readonly #now: () => number;
  /** Since when. */
  readonly #seen: Until<number>;

  /** `now`: milliseconds from anywhere. */
  constructor(now: () => number) {
    this.#now = now;
    this.#seen = new Until(now, REMEMBERED_MS);
  }

  /** It has come malformed; whether it had so seconds ago. */
  again(url: string): boolean {
    const now = this.#now();
    const since = this.#seen.get(url) ?? now;
    this.#seen.set(url, since);
    return now - since >= APART_MS;
  }

  /** It has come as it should be. */
  forget(url: string): void {
    this.#seen.forget(url);
  }
}
