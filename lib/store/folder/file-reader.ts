// A stored body on its way out: one piece is with the client while the next is read. Where the whole body is asked for, it is
// hashed as it passes, and the last piece held back if the hash is wrong.
import { createHash, type Hash } from 'node:crypto';
import {
  giveBuffer,
  LARGE_PIECE_BYTES,
  leaveBuffer,
  PIECE_BYTES,
  SMALL_PIECE_BYTES,
  takeBuffer,
} from '../../bytes/buffers.ts';
import type { Reader } from '../../bytes/streams.ts';

/**
 * Whoever takes a piece of 64 KiB in less than this gets four times as much at once: over the loopback one core then sends 1.8 times as
 * many bytes (pieces of a MiB: 1.95 times, for a memory that many slow readers would fill, and for turns of the event loop that others
 * wait for). Slower readers, at 32 MB/s, get the small ones, which cost them nothing.
 */
const FAST_MS = 2;
/** Until so much is through, a client may merely have filled the kernel's buffers. */
const BEGINNING_BYTES = 512 * 1024;

/** Bodies up to this that are still to be judged come in one piece. */
const IN_ONE_BYTES = 128 * 1024;

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
  #lent: Piece | undefined;
  #lentAt = 0;
  #ahead: Promise<Piece | undefined> | undefined;
  #pieceBytes: number;
  #open = true;

  constructor(options: FileReaderOptions) {
    this.#options = options;
    this.#at = options.from;
    this.#hash = options.check === undefined ? undefined : createHash('sha256');
    // What is in one piece is judged before a byte of it is sent, so that a good one can take its place.
    const isInOne = options.check !== undefined && options.to - options.from <= IN_ONE_BYTES;
    this.#pieceBytes = isInOne ? PIECE_BYTES : SMALL_PIECE_BYTES;
  }

  async read(): Promise<Buffer | undefined> {
    if (!this.#open) return undefined;
    this.#takeBack();
    const loading = this.#ahead ?? this.#load();
    this.#ahead = undefined;
    const piece = await loading;
    // It may have been closed meanwhile.
    if (!this.#open) {
      if (piece !== undefined) giveBuffer(piece.buffer);
      return undefined;
    }
    if (piece === undefined) {
      this.close();
      return undefined;
    }
    this.#lent = piece;
    const bytes = piece.buffer.subarray(0, piece.length);
    this.#hash?.update(bytes);
    this.#options.onPiece();
    if (this.#at >= this.#options.to) await this.#checked();
    else {
      this.#ahead = this.#load();
      // The error surfaces when this piece is awaited.
      this.#ahead.catch(() => {});
    }
    this.#lentAt = performance.now();
    return bytes;
  }

  /** The piece that was lent is the reader's again; how long that took says how large the next ones should be. */
  #takeBack(): void {
    const lent = this.#lent;
    if (lent === undefined) return;
    this.#lent = undefined;
    const ms = performance.now() - this.#lentAt;
    const isFast = ms * SMALL_PIECE_BYTES < FAST_MS * lent.length;
    const isThrough = this.#at - this.#options.from > BEGINNING_BYTES;
    this.#pieceBytes = isFast && isThrough ? LARGE_PIECE_BYTES : SMALL_PIECE_BYTES;
    giveBuffer(lent.buffer);
  }

  async #checked(): Promise<void> {
    const { check } = this.#options;
    if (check !== undefined && this.#hash !== undefined) await check(this.#hash.digest('hex'));
  }

  async #load(): Promise<Piece | undefined> {
    const { read, short, to } = this.#options;
    const left = to - this.#at;
    if (left <= 0) return undefined;
    const buffer = takeBuffer(left, this.#pieceBytes);
    try {
      const length = await read(buffer, Math.min(buffer.length, left), this.#at);
      this.#at += length;
      if (length > 0) return { buffer, length };
    } catch (error) {
      giveBuffer(buffer);
      throw error;
    }
    giveBuffer(buffer);
    // A body must not end early silently: the client would wait for the rest, or take the part for the whole.
    return short(this.#at);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // The buffer is not given back: it may still be on its way to a client that has just left.
    if (this.#lent !== undefined) leaveBuffer(this.#lent.buffer);
    this.#ahead?.then((piece) => piece && giveBuffer(piece.buffer)).catch(() => {});
    this.#options.onClose();
  }
}
