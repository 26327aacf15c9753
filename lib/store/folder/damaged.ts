// What turned out damaged while it was read: set aside, or, where the disk lets nobody do that, known not to be served again.
import { isCacheError } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import { quarantine } from './quarantine.ts';
import type { Tally } from './tally.ts';

export class Damaged {
  readonly #folder: string;
  readonly #tally: Tally;
  readonly #emit: Emit;
  readonly #onGone: (file: string) => void;
  /** By file: what is damaged and still there, and why. A start finds it out again. */
  readonly #left = new Map<string, { readonly version: string; readonly reason: string }>();

  /** `onGone` is told of every file that is not to be served any more. */
  constructor(folder: string, tally: Tally, emit: Emit, onGone: (file: string) => void = () => {}) {
    this.#folder = folder;
    this.#tally = tally;
    this.#emit = emit;
    this.#onGone = onGone;
  }

  /** What is wrong with this version of the file, which is still there; undefined if nothing is known to be. */
  reason(file: string, version: string): string | undefined {
    const left = this.#left.get(file);
    return left?.version === version ? left.reason : undefined;
  }

  /**
   * Whether it was set aside: see {@link quarantine}.
   * @throws CacheError `storage`
   */
  async setAside(path: string, file: string, version: string, reason: string): Promise<boolean> {
    const bytes = await quarantine(this.#folder, path, file, version, reason, this.#emit);
    this.#onGone(file);
    this.#left.delete(file);
    if (bytes !== undefined) this.#tally.changed(-1, -bytes);
    return bytes !== undefined;
  }

  /** Sets it aside, or else has {@link reason} know of it: to whoever asks for it, it is gone. */
  async putAway(path: string, file: string, version: string, reason: string): Promise<void> {
    try {
      await this.setAside(path, file, version, reason);
    } catch (error) {
      if (!isCacheError(error, 'storage')) throw error;
      this.#onGone(file);
      this.#left.set(file, { version, reason });
      this.#emit({ kind: 'not-set-aside', path, error });
    }
  }
}
