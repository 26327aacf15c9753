// Beginnings that an earlier download left: taken to go on from where a hash will tell whether that was right, and put back
// where nobody can go on now.
import type { Log } from '../log.ts';
import { sha256ToHex } from '../nix/hash.ts';
import type { Scratch, Spool } from '../store/scratch.ts';
import type { Expected } from './verify.ts';

/** What is there already of a body. */
interface Begun {
  readonly spool: Spool;
  readonly length: number;
}

export class KeptBeginnings {
  readonly #scratch: Scratch;
  readonly #log: Log;

  constructor(scratch: Scratch, log: Log) {
    this.#scratch = scratch;
    this.#log = log;
  }

  /** What is left of it, if anything. */
  async take(path: string, { fileHash, fileSize: size }: Expected): Promise<Begun | undefined> {
    if (fileHash === undefined || size === undefined) return undefined;
    const taken = await this.#scratch.takeBeginning({ path, size, sha256: sha256ToHex(fileHash) });
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
    await this.#scratch.keepBeginning(spool, { path, size, sha256: sha256ToHex(fileHash), length });
    await spool.close();
  }
}
