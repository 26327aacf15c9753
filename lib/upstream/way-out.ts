// What a proxy has led to lately. Each destination that it does not lead to is dead by itself; but where that is so of all of
// them, and there are several, the reason is likely to be the proxy, and is said once.
import { type CacheError, describe } from '../errors.ts';
import type { Log } from '../log.ts';

const SEVERAL = 2;
/** Destinations that a line names. */
const MOST = 4;

export class WayOut {
  readonly #name: string;
  readonly #log: Log;
  /** Since somebody was reached last. */
  readonly #missed = new Set<string>();
  #isSaid = false;

  constructor(name: string, log: Log) {
    this.#name = name;
    this.#log = log;
  }

  /** An answer has come through it, whatever it says. */
  reached(): void {
    this.#missed.clear();
    if (this.#isSaid) this.#log.info(`${this.#name}: leads somewhere again`);
    this.#isSaid = false;
  }

  /** The proxy itself could be asked, and no answer of this destination came. */
  missed(destination: string, error: CacheError): void {
    if (this.#missed.size < MOST) this.#missed.add(destination);
    if (this.#isSaid || this.#missed.size < SEVERAL) return;
    this.#isSaid = true;
    const all = [...this.#missed].join(', ');
    this.#log.warn(
      `${this.#name}: has led to none of the destinations asked for lately (${all}): it may deny them all, or have no way out ` +
        `itself: ${describe(error)}`,
    );
  }
}
