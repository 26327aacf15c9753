// Beginnings that an earlier download left: taken to go on from where a hash will tell whether that was right, and put back
// where nobody can go on now.
import type { Log } from '../log.ts';
import { sha256ToHex } from '../nix/hash.ts';
import type { Spool, Store } from '../store/store.ts';
import type { Expected } from './verify.ts';

/** What is there already of a body. */
interface Begun {
  readonly spool: Spool;
  readonly length: number;
}

export class KeptBeginnings {
  readonly #store: Store;
  readonly #log: Log;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** What is left of it, if anything. */
  async take(path: string, { fileHash, fileSize: size }: Expected): Promise<Begun | undefined> {
    if (fileHash === undefined || size === undefined) return undefined;
    const taken = await this.#store.takePartial({ path, size, sha256: sha256ToHex(fileHash) });
    if (taken !== undefined) this.#log.info(`${path} is continued from byte ${taken.length} of ${size}`);
    return taken;
  }

  /** Nobody can continue it now; somebody may later. */
  async putBack(
    path: string,
    { fileHash, fileSize: size }: Expected,
    partial: Begun | undefined,
  ): Promise<void> {
    if (partial === undefined || fileHash === undefined || size === undefined) return;
    const { length, spool } = partial;
    await this.#store.keepPartial(spool, { path, size, sha256: sha256ToHex(fileHash), length });
    await spool.close();
  }
}
