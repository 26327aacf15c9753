// How much the folder holds: counted once, in the background, and kept up to date by whoever stores and removes. Commands that
// run beside the service are not heard of; the next collection counts again.
import type { Totals } from './scan.ts';

export class Tally {
  #counted: Totals | undefined;
  #objects = 0;
  #bytes = 0;
  #watch: (full: boolean) => void = () => {};

  /** Undefined until it was counted. */
  get totals(): Totals | undefined {
    if (this.#counted === undefined) return undefined;
    const { objects, bytes } = this.#counted;
    return { objects: Math.max(0, objects + this.#objects), bytes: Math.max(0, bytes + this.#bytes) };
  }

  /** Has `watch` called after every change, and when the disk has taken no more. */
  watch(watch: (full: boolean) => void): void {
    this.#watch = watch;
  }

  /** The disk took no more. */
  full(): void {
    this.#watch(true);
  }

  /** What the folder held a moment ago. What changed while it was counted may be in that or not. */
  counted(totals: Totals): void {
    this.#counted = totals;
    this.#objects = 0;
    this.#bytes = 0;
    this.#watch(false);
  }

  /** So many objects, and bytes of files, have come, or gone if negative. */
  changed(objects: number, bytes: number): void {
    this.#objects += objects;
    this.#bytes += bytes;
    this.#watch(false);
  }
}
