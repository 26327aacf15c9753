// A spool that is ahead of its disk: what is on its way there is read from memory, so nobody waits for the disk to see a
// byte. When the disk takes no more, or nothing for long, what can't be written stays in memory until everybody who reads has had
// it, and whoever writes waits for that. The body passes through then; nothing of it can be kept.
import { CacheError, describe } from '../errors.ts';
import type { Spool } from '../store/scratch.ts';
import { Changes } from '../sync/changes.ts';
import { within } from '../sync/within.ts';

/** Bytes of one body held at most: of those before the front, and of all for what comes ahead of it. */
const HELD_BYTES = 16 << 20;
/** A disk that takes a write for so long hangs, or has far more to do than it can. */
const HANGING_MS = 10_000;

interface Piece {
  readonly at: number;
  readonly bytes: Uint8Array;
}

interface OverflowOptions {
  /** Called once, when the disk has refused. */
  readonly onFull: (reason: string) => void;
  /** Where the bytes begin that are needed next. */
  readonly front: () => number;
}

export class Overflow implements Omit<Spool, 'ready'> {
  readonly #file: Spool;
  readonly #options: OverflowOptions;
  /** In order: what the disk does not have, or not yet. */
  #pieces: Piece[] = [];
  #held = 0;
  #full = false;
  /** Where bytes begin that have been in memory and are gone. */
  #gone = { from: Number.POSITIVE_INFINITY, to: 0 };
  /** Of what is in memory, and of whether more is wanted. */
  readonly #changes = new Changes();
  #stopped = false;
  /** Of everything given to the disk until now; never rejects. */
  #settled: Promise<unknown> = Promise.resolve();

  constructor(file: Spool, options: OverflowOptions) {
    this.#options = options;
    this.#file = file;
  }

  /** Whether bytes pass through memory, so that the body can't be kept. */
  get full(): boolean {
    return this.#full;
  }

  /** Whether all that was written can still be read. */
  get whole(): boolean {
    return this.#gone.to === 0;
  }

  /** The spool on disk, if all of the body is there once it has {@link settled}. */
  get file(): Spool | undefined {
    return this.#full ? undefined : this.#file;
  }

  #refuse(error: unknown): void {
    if (this.#full) return;
    this.#full = true;
    this.#options.onFull(describe(error));
  }

  /**
   * The chunk is this spool's from now on, and can be read at once. Waits while the one before is on its way to the disk.
   * @throws CacheError `aborted` if it was stopped before there was room
   */
  async write(chunk: Uint8Array, at: number): Promise<void> {
    const piece = { at, bytes: chunk };
    if (!this.#full) {
      this.#hold(piece);
      const before = this.#settled;
      const written = this.#file.write(chunk, at).then(
        () => this.#drop(piece),
        (error) => this.#refuse(error),
      );
      this.#settled = Promise.all([before, this.#unlessHanging(written)]);
      await before;
      return;
    }
    while (!this.#stopped && this.#isCrowded(chunk.length, at)) await this.#changes.next();
    if (this.#stopped) throw new CacheError('aborted', 'no more of it is wanted');
    this.#hold(piece);
  }

  /** When it is written, or the disk has been waited for long enough. */
  async #unlessHanging(written: Promise<void>): Promise<void> {
    let hangs = true;
    const settled = written.then(() => {
      hangs = false;
    });
    await within(HANGING_MS, settled);
    if (hangs) this.#refuse(new CacheError('storage', `the disk took no write for ${HANGING_MS / 1000} s`));
  }

  /** When the disk has, or has refused, all that was written. */
  async settled(): Promise<void> {
    await this.#settled;
  }

  #hold(piece: Piece): void {
    const index = this.#pieces.findIndex(({ at }) => at > piece.at);
    this.#pieces.splice(index < 0 ? this.#pieces.length : index, 0, piece);
    this.#held += piece.bytes.length;
  }

  #drop(piece: Piece): void {
    const index = this.#pieces.indexOf(piece);
    if (index < 0) return;
    this.#pieces.splice(index, 1);
    this.#held -= piece.bytes.length;
    // The write may have come late to a disk that was believed to hang.
    this.#changes.tell();
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
    if (at >= this.#gone.from && at < this.#gone.to) {
      throw new CacheError('storage', 'its beginning was not kept, because the disk is full');
    }
    // Up to where memory begins, or began: there the file may have a hole. Behind it the file has bytes of workers that
    // were ahead when the disk refused.
    const borders = [this.#gone.from, ...this.#pieces.map((one) => one.at)].filter((border) => border > at);
    return this.#file.read(
      buffer.subarray(0, Math.min(buffer.length, ...borders.map((one) => one - at))),
      at,
    );
  }

  /** Everybody has read the bytes before `position`. */
  passed(position: number): void {
    if (!this.#full) return;
    while (this.#pieces[0] !== undefined && this.#pieces[0].at + this.#pieces[0].bytes.length <= position) {
      const { at, bytes } = this.#pieces.shift() as Piece;
      this.#held -= bytes.length;
      this.#gone = { from: Math.min(this.#gone.from, at), to: at + bytes.length };
    }
    this.#changes.tell();
  }

  /** Nobody fills it any more: whoever waits for room would wait for bytes before its own that never come. */
  stop(): void {
    this.#stopped = true;
    this.#changes.tell();
  }

  async close(): Promise<void> {
    this.stop();
    await this.#settled;
    await this.#file.close();
    this.#pieces = [];
  }
}
