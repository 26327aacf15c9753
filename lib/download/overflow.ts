// A spool for when the disk takes no more: what can't be written is held in memory until everybody who reads has had it,
// and whoever writes waits for that. The body passes through; nothing of it can be kept.
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Spool } from '../store/store.ts';

/** Bytes of one body held at most: of those before the front, and of all for what comes ahead of it. */
const HELD_BYTES = 16 << 20;

interface Piece {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export interface OverflowOptions {
  /** Called once, when the disk has refused. */
  readonly onFull: (reason: string) => void;
  /** Where the bytes begin that are needed next. */
  readonly front: () => number;
}

export class Overflow implements Spool {
  /** What is on disk; undefined if not even a file could be made. */
  readonly #file: Spool | undefined;
  readonly #options: OverflowOptions;
  /** In order, once the disk has refused. */
  #pieces: Piece[] = [];
  #held = 0;
  #full = false;
  /** Where bytes begin that have been in memory and are gone. */
  #gone = { from: Number.POSITIVE_INFINITY, to: 0 };
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor(file: Spool | CacheError, options: OverflowOptions) {
    this.#options = options;
    if (!(file instanceof CacheError)) {
      this.#file = file;
      return;
    }
    this.#file = undefined;
    this.#refuse(file);
  }

  /** Whether bytes pass through memory, so that the body can't be kept. */
  get full(): boolean {
    return this.#full;
  }

  /** Whether all that was written can still be read. */
  get whole(): boolean {
    return this.#gone.to === 0;
  }

  /** The spool on disk, if all of the body is there. */
  get file(): Spool | undefined {
    return this.#full ? undefined : this.#file;
  }

  #refuse(error: unknown): void {
    if (this.#full) return;
    this.#full = true;
    this.#options.onFull(describe(error));
  }

  async write(chunk: Uint8Array, at: number): Promise<void> {
    if (!this.#full) {
      try {
        return await this.#file?.write(chunk, at);
      } catch (error) {
        if (!isCacheError(error, 'storage')) throw error;
        this.#refuse(error);
      }
    }
    while (this.#isCrowded(chunk.length, at) && !this.#closed) {
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
    const index = this.#pieces.findIndex((piece) => piece.at > at);
    this.#pieces.splice(index < 0 ? this.#pieces.length : index, 0, { at, bytes: chunk });
    this.#held += chunk.length;
  }

  /** What comes ahead of the front must leave room for what comes there, or nobody could go on. */
  #isCrowded(length: number, at: number): boolean {
    const front = this.#options.front();
    if (at !== front) return this.#held + length > HELD_BYTES;
    const unread = this.#pieces.reduce((sum, piece) => sum + (piece.at < front ? piece.bytes.length : 0), 0);
    return unread > 0 && unread + length > HELD_BYTES;
  }

  async read(buffer: Uint8Array, at: number): Promise<number> {
    const piece = this.#pieces.find((one) => one.at <= at && at < one.at + one.bytes.length);
    if (piece !== undefined) {
      const bytes = piece.bytes.subarray(at - piece.at, at - piece.at + buffer.length);
      buffer.set(bytes);
      return bytes.length;
    }
    if (this.#file === undefined || (at >= this.#gone.from && at < this.#gone.to)) {
      throw new CacheError('storage', 'its beginning was not kept, because the disk is full');
    }
    // Up to where memory begins: behind that the file may have a hole.
    const next = Math.min(
      this.#gone.from,
      this.#pieces.find((one) => one.at > at)?.at ?? Number.POSITIVE_INFINITY,
    );
    return this.#file.read(buffer.subarray(0, Math.max(0, Math.min(buffer.length, next - at))), at);
  }

  /** Everybody has read the bytes before `position`. */
  passed(position: number): void {
    if (!this.#full) return;
    while (this.#pieces[0] !== undefined && this.#pieces[0].at + this.#pieces[0].bytes.length <= position) {
      const { at, bytes } = this.#pieces.shift() as Piece;
      this.#held -= bytes.length;
      this.#gone = { from: Math.min(this.#gone.from, at), to: at + bytes.length };
    }
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#pieces = [];
    this.#wake();
    await this.#file?.close();
  }
}
