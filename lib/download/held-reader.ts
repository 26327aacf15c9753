// Somebody who reads a file that grows, from one place to another, as its bytes arrive. It holds what it has still to read; close it.
import type { Reader } from '../bytes/streams.ts';
import { CacheError } from '../errors.ts';
import type { Cursor, Growing } from './growing.ts';

export class HeldReader implements Reader {
  readonly #growing: Growing;
  readonly #cursor: Cursor;
  readonly #start: number;
  /** Undefined for the end of the file, where nobody knows that. */
  readonly #end: number | undefined;
  readonly #closed: () => void;
  /** Whether what it has read is known to be of the right file. */
  #isSure: boolean;
  #isOpen = true;

  /** `closed` is called once, when it is done. */
  constructor(growing: Growing, start: number, end: number | undefined, closed: () => void) {
    this.#growing = growing;
    this.#cursor = growing.cursor(start);
    this.#start = start;
    this.#end = end ?? growing.size;
    this.#closed = closed;
    this.#isSure = growing.state.kind === 'complete';
  }

  async read(): Promise<Buffer | undefined> {
    // The reader stops at its known end, and does not wait for what becomes of the file after that.
    while (this.#isOpen && this.#cursor.at !== this.#end) {
      const isComplete = this.#isComplete();
      const visible = Math.min(this.#growing.visible, this.#end ?? Number.POSITIVE_INFINITY);
      if (this.#cursor.at < visible) {
        const bytes = await this.#cursor.read(visible);
        this.#growing.show(this.#cursor.at);
        return bytes;
      }
      if (isComplete) break;
      await this.#growing.change();
    }
    this.close();
    return undefined;
  }

  /**
   * Whether the file is.
   * @throws the failure, if it has failed, or if other bytes have come in place of those that were read
   */
  #isComplete(): boolean {
    const { state } = this.#growing;
    if (state.kind === 'failed') throw state.error;
    if (state.kind !== 'complete') return false;
    const { at } = this.#cursor;
    if (!this.#isSure && at > this.#start && at > state.trusted)
      throw new CacheError('upstream', 'the first source sent wrong bytes');
    this.#isSure = true;
    return true;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#cursor.close();
    this.#closed();
  }
}
