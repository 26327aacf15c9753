// What sources have lately shown of themselves in downloads that are over: who sent wrong bytes is asked last for a while, and who sent
// bytes of what broke off does not lack it, whatever it says.
import { Until } from '../sync/until.ts';
import type { Source } from './sources.ts';

const BLAME_MS = 10 * 60_000;
const GAVE_MS = 60_000;

export class Reputation {
  /** By their labels. */
  readonly #blamed: Until;
  readonly #gave: Until;

  /** `now`: milliseconds from anywhere. */
  constructor(now: () => number) {
    this.#blamed = new Until(now, BLAME_MS);
    this.#gave = new Until(now, GAVE_MS);
  }

  /** It has sent wrong bytes. */
  blame({ label }: Source): void {
    this.#blamed.add(label);
  }

  /** It has sent bytes of a body that broke off. */
  gave({ label }: Source): void {
    this.#gave.add(label);
  }

  hasGiven({ label }: Source): boolean {
    return this.#gave.has(label);
  }

  /** As they are, but those last that sent wrong bytes. */
  inOrder(sources: readonly Source[]): Source[] {
    const rank = ({ label }: Source) => Number(this.#blamed.has(label));
    return [...sources].sort((a, b) => rank(a) - rank(b));
  }
}
