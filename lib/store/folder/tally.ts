// How much the folder holds: counted once, in the background, and kept up to date by whoever stores and removes. After a command
// that has changed it beside the service it is counted again.
import type { Totals } from '../upkeep.ts';

const NOTHING: Totals = { objects: 0, bytes: 0 };

export class Tally {
  #counted: Totals | undefined;
  /** What has come and gone since the beginning: all of it, and what of it was before the count. */
  #come = NOTHING;
  #before = NOTHING;
  #watch: (full: boolean) => void = () => {};

  /** Undefined until it was counted. */
  get totals(): Totals | undefined {
    if (this.#counted === undefined) return undefined;
    const { objects, bytes } = this.#counted;
    return {
      objects: Math.max(0, objects + this.#come.objects - this.#before.objects),
      bytes: Math.max(0, bytes + this.#come.bytes - this.#before.bytes),
    };
  }

  /** Has `watch` called after every change, and when the disk has taken no more. */
  watch(watch: (full: boolean) => void): void {
    this.#watch = watch;
  }

  /** The disk took no more. */
  full(): void {
    this.#watch(true);
  }

  /**
   * A count begins; to be told what it found. What comes meanwhile may have been counted too: rather too much than too little,
   * which nobody would notice.
   */
  counting(): (found: Totals) => void {
    const before = this.#come;
    return (found) => {
      this.#counted = found;
      this.#before = before;
      this.#watch(false);
    };
  }

  /** So many objects, and bytes of files, have come, or gone if negative. */
  changed(objects: number, bytes: number): void {
    this.#come = { objects: this.#come.objects + objects, bytes: this.#come.bytes + bytes };
    this.#watch(false);
  }
}
