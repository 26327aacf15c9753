// A stored body on its way out: one piece is with the client while the next is read. Where the whole body is asked for, it is
// hashed as it passes, and the last piece held back if the hash is wrong.
import { createHash, type Hash } from 'node:crypto';
import { giveBuffer, PIECE_BYTES, takeBuffer } from '../../bytes/buffers.ts';
import type { Reader } from '../../bytes/streams.ts';

interface FileReaderOptions {
  /** Reads at most `length` bytes from this place in the file on; how many there were. */
  readonly read: (buffer: Buffer, length: number, at: number) => Promise<number>;
  /** Where in the file to begin and to end. */
  readonly from: number;
  readonly to: number;
  /** To be called with the hash of what was read before the last of it is given; undefined where nothing is checked. */
  readonly check: ((sha256: string) => Promise<void>) | undefined;
  /** Has the reader fail because the file ended at this place. */
  readonly short: (at: number) => Promise<never>;
  /** Called for every piece. */
  readonly onPiece: () => void;
  /** Called once, at the end or when it is closed. */
  readonly onClose: () => void;
}

interface Piece {
  readonly buffer: Buffer;
  readonly length: number;
}

export class FileReader implements Reader {
  readonly #options: FileReaderOptions;
  readonly #hash: Hash | undefined;
  #at: number;
  #lent: Buffer | undefined;
  #ahead: Promise<Piece | undefined> | undefined;
  #open = true;

  constructor(options: FileReaderOptions) {
    this.#options = options;
    this.#at = options.from;
    this.#hash = options.check === undefined ? undefined : createHash('sha256');
  }

  async read(): Promise<Buffer | undefined> {
    if (!this.#open) return undefined;
    const piece = await (this.#ahead ?? this.#load());
    if (this.#lent !== undefined) giveBuffer(this.#lent);
    this.#lent = piece?.buffer;
    const bytes = piece?.buffer.subarray(0, piece.length);
    if (bytes !== undefined) this.#hash?.update(bytes);
    this.#options.onPiece();
    if (this.#at >= this.#options.to) {
      this.#ahead = undefined;
      if (bytes !== undefined) await this.#checked();
      else this.close();
    } else {
      this.#ahead = this.#load();
      // The error surfaces when this piece is awaited.
      this.#ahead.catch(() => {});
    }
    return bytes;
  }

  async #checked(): Promise<void> {
    const { check } = this.#options;
    if (check !== undefined && this.#hash !== undefined) await check(this.#hash.digest('hex'));
  }

  async #load(): Promise<Piece | undefined> {
    const { read, short, to } = this.#options;
    const wanted = Math.min(PIECE_BYTES, to - this.#at);
    if (wanted <= 0) return undefined;
    const buffer = takeBuffer(wanted);
    const bytesRead = await read(buffer, wanted, this.#at);
    // A body must not end early silently: the client would wait for the rest, or take the part for the whole.
    if (bytesRead === 0) return short(this.#at);
    this.#at += bytesRead;
    return { buffer, length: bytesRead };
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // Buffers are not given back: the last may still be on its way to a client that has just left.
    this.#options.onClose();
  }
}
