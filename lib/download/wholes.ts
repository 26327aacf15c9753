// Whether a source is asked for parts of the body or for the whole, as nothing comes of its parts.
import type { Parts } from '../upstream/parts.ts';

/** After so many parts in a row of which nothing came the whole is asked for. */
const MAX_BARREN = 2;

export class Wholes {
  /** Parts in a row that were promised and of which nothing came. */
  #barren = 0;
  /** Of the whole: it was never asked for; it is to be; it is being had; it was given, and that broke off. */
  #state: 'untried' | 'wanted' | 'asked' | 'tried' = 'untried';

  /** Whether it is to be asked for the whole. */
  get isNext(): boolean {
    return this.#state === 'wanted' || this.#state === 'asked';
  }

  get state(): 'untried' | 'wanted' | 'asked' | 'tried' {
    return this.#state;
  }

  /** A request begins; whether it is for the whole. */
  begin(): boolean {
    const isWhole = this.isNext;
    if (isWhole) this.#state = 'asked';
    return isWhole;
  }

  /** A request for the whole has failed: before it was answered, or after that. */
  broke(answered: boolean): void {
    this.#state = answered ? 'tried' : 'wanted';
  }

  /** A part that was promised has broken off after so many bytes. */
  partBroke(bytes: number): void {
    this.#barren = bytes > 0 ? 0 : this.#barren + 1;
  }

  /** One more failure has been dealt with; `isHopeless` if there have been so many that it is worth a try. */
  consider(isHopeless: boolean): void {
    if ((this.#barren >= MAX_BARREN || isHopeless) && this.#state === 'untried') this.#state = 'wanted';
  }

  /** A request has brought all that it was for. What that says of other downloads is for `parts`, of its upstream. */
  succeeded(whole: boolean, givesParts: boolean, parts: Pick<Parts, 'gave' | 'refused'>): void {
    if (whole) {
      this.#state = 'wanted';
      parts.refused(this.#barren >= MAX_BARREN);
    } else if (givesParts) parts.gave();
    this.#barren = 0;
  }
}
