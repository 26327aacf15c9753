// How many of something are under way, for whoever waits until none is.
import { Changes } from './changes.ts';

export class UnderWay {
  #count = 0;
  readonly #none = new Changes();

  begin(): void {
    this.#count++;
  }

  /** Called once for each {@link begin}. */
  end(): void {
    this.#count--;
    if (this.#count === 0) this.#none.tell();
  }

  /** Resolves when none is. */
  async idle(): Promise<void> {
    if (this.#count > 0) await this.#none.next();
  }
}
