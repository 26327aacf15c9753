// A file that grows while it is read: the front moves, and any number of readers follow it, each at its own pace. What
// completes it stays hidden until somebody has said that the whole is right.
import { Readable } from 'node:stream';
import { CacheError } from '../errors.ts';
import type { Spool } from '../store/store.ts';
import { Pieces } from './pieces.ts';

const READ_BYTES = 256 * 1024;

export class Growing {
  /** Bytes of the finished file; undefined while nobody can tell. */
  readonly size: number | undefined;
  #spool: Spool;
  #front = 0;
  /** How far readers may read now. */
  #visible = 0;
  #state: 'growing' | 'complete' | Error = 'growing';
  #waiting: (() => void)[] = [];
  readonly #pieces = new Pieces();
  /** Whoever fills it and whoever reads it; the last one closes the spool. */
  #users = 1;
  /** How far any reader has come. */
  #shown = 0;
  /** Up to here readers of the former spool have seen nothing but right bytes. */
  #trusted = Number.POSITIVE_INFINITY;

  constructor(spool: Spool, size: number | undefined) {
    this.#spool = spool;
    this.size = size;
  }

  get spool(): Spool {
    return this.#spool;
  }

  /** How far any reader has come. */
  get shown(): number {
    return this.#shown;
  }

  get front(): number {
    return this.#front;
  }

  /** Bytes before `front` are there. */
  advance(front: number): void {
    if (front <= this.#front) return;
    this.#front = front;
    // What completes the file waits for the verdict, so that a wrong body that came at once is never seen at all.
    if (front !== this.size) this.#visible = front;
    this.wake();
  }

  /** All of it is there and right. */
  complete(): void {
    this.#state = 'complete';
    this.#visible = this.#front;
    this.wake();
  }

  /** It will never be there: every reader fails. */
  fail(error: Error): void {
    this.#state = error;
    this.wake();
  }

  /**
   * Goes on with the whole, right body in another spool. Readers who have seen no byte that differs do not notice; the
   * others fail.
   */
  async replace(spool: Spool, size: number): Promise<void> {
    this.#trusted = await commonPrefix(this.#spool, spool, Math.min(this.#shown, size));
    const former = this.#spool;
    this.#spool = spool;
    this.#pieces.forget();
    this.#front = size;
    this.complete();
    await former.close();
  }

  /** Has everybody look again who waits for a change. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Resolves at the next {@link wake}, which every change of front or state is. */
  change(): Promise<void> {
    return new Promise((wake) => this.#waiting.push(wake));
  }

  /**
   * Keeps the bytes readable for one {@link stream}, or until {@link release}. False if it is too late for that.
   * @throws the failure, if it has failed
   */
  hold(): boolean {
    if (this.#state instanceof Error) throw this.#state;
    if (this.#users === 0) return false;
    this.#users++;
    return true;
  }

  release(): void {
    this.#users--;
    // Nothing depends on the outcome: the bytes are kept already, or not wanted.
    if (this.#users === 0) this.#spool.close().catch(() => {});
  }

  /**
   * The bytes from `start` up to `end`, or to the end if undefined, as they arrive; fails if the whole fails.
   * Takes over one {@link hold}.
   */
  stream(start: number, end: number | undefined): Readable {
    let at = start;
    let spool = this.#spool;
    const next = async (reader: Readable): Promise<Buffer | null> => {
      while (!reader.destroyed) {
        // Before the front, because a client should stop at its known end and not wait for what comes after.
        if (at === (end ?? this.size)) return null;
        if (this.#state instanceof Error) throw this.#state;
        if (spool !== this.#spool) {
          if (at > start && at > this.#trusted)
            throw new CacheError('upstream', 'the first source sent wrong bytes');
          spool = this.#spool;
        }
        const visible = Math.min(this.#visible, end ?? Number.POSITIVE_INFINITY);
        if (at < visible) {
          const piece = await this.#pieces.read(spool, at, visible);
          at += piece.length;
          this.#shown = Math.max(this.#shown, at);
          return piece;
        }
        if (this.#state === 'complete') return null;
        await this.change();
      }
      return null;
    };
    return new Readable({
      highWaterMark: READ_BYTES,
      read() {
        next(this).then(
          (chunk) => this.destroyed || this.push(chunk),
          (error) => this.destroy(error),
        );
      },
      destroy: (error, callback) => {
        this.release();
        callback(error);
      },
    });
  }
}

/** How many of the first `length` bytes the two agree in. */
async function commonPrefix(a: Spool, b: Spool, length: number): Promise<number> {
  const left = Buffer.allocUnsafe(READ_BYTES);
  const right = Buffer.allocUnsafe(READ_BYTES);
  for (let at = 0; at < length; ) {
    const size = Math.min(READ_BYTES, length - at);
    const read = await readFully(a, left.subarray(0, size), at);
    await readFully(b, right.subarray(0, size), at);
    if (!left.subarray(0, read).equals(right.subarray(0, read))) {
      let same = 0;
      while (left[same] === right[same]) same++;
      return at + same;
    }
    if (read < size) return at + read;
    at += size;
  }
  return length;
}

async function readFully(spool: Spool, buffer: Buffer, at: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const read = await spool.read(buffer.subarray(done), at + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}
