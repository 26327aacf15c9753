// What readers of a growing file have lately read of it. Many follow its front together: the first at an offset reads from
// the disk, the others take what that one read, so that fifty readers cost little more than one.
import { giveBuffer, PIECE_BYTES, takeBuffer } from '../bytes/buffers.ts';
import { CacheError } from '../errors.ts';
import type { Spool } from '../store/scratch.ts';

/** How many are kept: readers that are further apart than these hardly follow the front together. */
const PIECES = 8;

/** Bytes that several may look at: not to be changed. */
export interface Lent {
  readonly bytes: Buffer;
  /** Gives them back; whoever can't tell if they are still looked at leaves it. */
  done(): void;
}

interface Piece {
  readonly buffer: Buffer;
  readonly length: Promise<number>;
  /** Those who look at it, and one for being kept here. */
  users: number;
}

export class Pieces {
  /** By where they begin, the oldest first. */
  readonly #recent = new Map<number, Piece>();

  /**
   * Some bytes from `at` on, at least one and none at or after `end`.
   * @throws CacheError `storage` if the file is shorter than that
   */
  async read(spool: Pick<Spool, 'read'>, at: number, end: number): Promise<Lent> {
    const piece = this.#recent.get(at) ?? this.#load(spool, at, end);
    piece.users++;
    const length = Math.min(await piece.length, end - at);
    return { bytes: piece.buffer.subarray(0, length), done: () => giveBack(piece) };
  }

  #load(spool: Pick<Spool, 'read'>, at: number, end: number): Piece {
    // Up to the next border, which is the same for all readers, so that readers who were apart meet again.
    const border = (Math.floor(at / PIECE_BYTES) + 1) * PIECE_BYTES;
    const wanted = Math.min(border, end) - at;
    const buffer = takeBuffer(wanted);
    const piece = { buffer, length: fill(spool, buffer.subarray(0, wanted), at), users: 1 };
    this.#recent.set(at, piece);
    piece.length.catch(() => this.#recent.get(at) === piece && this.#recent.delete(at));
    const [oldest] = this.#recent;
    if (this.#recent.size > PIECES && oldest !== undefined) {
      this.#recent.delete(oldest[0]);
      giveBack(oldest[1]);
    }
    return piece;
  }

  /** Lets go of all: they are of another file, or nobody reads any more. */
  forget(): void {
    for (const piece of this.#recent.values()) giveBack(piece);
    this.#recent.clear();
  }
}

function giveBack(piece: Piece): void {
  piece.users--;
  // Until the piece is filled, a read from the disk may still write to it.
  if (piece.users === 0)
    piece.length.then(
      () => giveBuffer(piece.buffer),
      () => {},
    );
}

async function fill(spool: Pick<Spool, 'read'>, buffer: Buffer, at: number): Promise<number> {
  const length = await spool.read(buffer, at);
  if (length === 0) throw new CacheError('storage', 'the temporary file lost bytes');
  return length;
}
