// What a proxy has led to lately. Each destination that it does not lead to is dead by itself; but where that is so of all of
// them, and there are several, the reason is likely to be the proxy, and is said once.
import type { CacheError } from '../errors.ts';
import type { Emit } from '../events.ts';

const SEVERAL = 2;
/** Destinations that are told of. */
const MOST = 4;

export class WayOut {
  readonly #name: string;
  readonly #emit: Emit;
  /** Since somebody was reached last. */
  readonly #missed = new Set<string>();
  #isSaid = false;

  constructor(name: string, emit: Emit) {
    this.#name = name;
    this.#emit = emit;
  }

  /** An answer has come through it, whatever it says. */
  reached(): void {
    this.#missed.clear();
    if (this.#isSaid) this.#emit({ kind: 'proxy-leads', name: this.#name });
    this.#isSaid = false;
  }

  /** The proxy itself could be asked, and no answer of this destination came. */
  missed(destination: string, error: CacheError): void {
    if (this.#missed.size < MOST) this.#missed.add(destination);
    if (this.#isSaid || this.#missed.size < SEVERAL) return;
    this.#isSaid = true;
    this.#emit({ kind: 'proxy-astray', name: this.#name, destinations: [...this.#missed], error });
  }
}
