// What readers of a growing file have lately read of it. Many follow its front together: the first at an offset reads from
// the disk, the others take what that one read, so that fifty readers cost little more than one.
import { CacheError } from '../errors.ts';
import type { Spool } from '../store/store.ts';

const PIECE_BYTES = 256 * 1024;
/** How many are kept: readers that are further apart than these hardly follow the front together. */
const PIECES = 8;

export class Pieces {
  /** By where they begin, the oldest first. */
  readonly #recent = new Map<number, Promise<Buffer>>();

  /**
   * Some bytes from `at` on, at least one and none at or after `end`. They belong to several: not to be changed.
   * @throws CacheError `storage` if the file is shorter than that
   */
  async read(spool: Pick<Spool, 'read'>, at: number, end: number): Promise<Buffer> {
    const known = this.#recent.get(at);
    if (known !== undefined) return (await known).subarray(0, end - at);
    const piece = load(spool, at, end);
    this.#recent.set(at, piece);
    piece.catch(() => this.forget());
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > PIECES && oldest !== undefined) this.#recent.delete(oldest);
    return piece;
  }

  forget(): void {
    this.#recent.clear();
  }
}

async function load(spool: Pick<Spool, 'read'>, at: number, end: number): Promise<Buffer> {
  // Up to the next of the same borders for all, where readers who were apart come together again.
  const border = (Math.floor(at / PIECE_BYTES) + 1) * PIECE_BYTES;
  // Not from Node's pool: a small piece that is kept would keep all of its pool.
  const buffer = Buffer.allocUnsafeSlow(Math.min(border, end) - at);
  const read = await spool.read(buffer, at);
  if (read === 0) throw new CacheError('storage', 'the temporary file lost bytes');
  return buffer.subarray(0, read);
}
