// A file that grows while it is read: the front moves, and any number of readers follow it, each at its own pace. Its last
// piece stays hidden until somebody has said that the whole is right; whoever reads less than that waits for nothing but bytes.

import type { Reader } from '../bytes/streams.ts';
import { CacheError } from '../errors.ts';
import type { Spool } from '../store/scratch.ts';
import { Changes } from '../sync/changes.ts';
import { commonPrefix } from './common-prefix.ts';
import { Overflow } from './overflow.ts';
import { type Lent, Pieces } from './pieces.ts';

/** How much of the file stays hidden when its front comes to the end at once, or when nobody knows where that is. */
const LAST_BYTES = 64 * 1024;

/** Somebody's place in the file. Close it. */
interface Cursor {
  readonly at: number;
  /** Some of the bytes from here up to `end`, which are there; lent until the next call. */
  read(end: number): Promise<Buffer>;
  close(): void;
}

export class Growing {
  /** Called when nobody reads it any more, and at its end. */
  onAbandoned: () => void = () => {};
  /** Bytes of the finished file; undefined while nobody can tell. */
  readonly size: number | undefined;
  readonly #onFull: (reason: string) => void;
  readonly #isJudged: boolean;
  #spool: Overflow;
  #front = 0;
  /** How far readers may read now. */
  #visible = 0;
  #state: 'growing' | 'complete' | Error = 'growing';
  readonly #changes = new Changes();
  readonly #cursors = new Set<{ at: number }>();
  readonly #pieces = new Pieces();
  /** Whoever fills it and whoever reads it; the last one closes the spool. */
  #users = 1;
  /** Readers to come: {@link hold} without {@link reader}. */
  #holds = 0;
  #everHeld = false;
  /** How far any reader has come. */
  #shown = 0;
  /** Up to here readers of the former spool have seen nothing but right bytes. */
  #trusted = Number.POSITIVE_INFINITY;

  /** `isJudged`: whether it may turn out to be wrong. */
  constructor(spool: Spool, size: number | undefined, onFull: (reason: string) => void, isJudged = true) {
    this.size = size;
    this.#isJudged = isJudged;
    this.#onFull = onFull;
    this.#spool = this.#overflow(spool);
  }

  #overflow(spool: Spool): Overflow {
    return new Overflow(spool, { onFull: this.#onFull, front: () => this.#front });
  }

  /** How far any reader has come. */
  get shown(): number {
    return this.#shown;
  }

  get front(): number {
    return this.#front;
  }

  /** The spool, once all that was written is in it; undefined if the disk could not take it. */
  async file(): Promise<Spool | undefined> {
    await this.#spool.settled();
    return this.#spool.file;
  }

  /** Whether whoever read it, or was about to, has left. */
  get isAbandoned(): boolean {
    return this.#everHeld && this.#users <= 1;
  }

  /** Whether it passes through memory, for want of disk. */
  get isPassing(): boolean {
    return this.#spool.full;
  }

  write(chunk: Uint8Array, at: number): Promise<void> {
    return this.#spool.write(chunk, at);
  }

  /** Nobody writes any more: whoever waits for room gives up. */
  stop(): void {
    this.#spool.stop();
  }

  /** Bytes before `front` are there. */
  advance(front: number): void {
    if (front <= this.#front) return;
    this.#front = front;
    // What completes the file waits for the verdict, so that a wrong body that came at once is never seen at all.
    // Any piece may be that one where nobody has told the size.
    const mayBeLast = front === this.size || (this.size === undefined && this.#isJudged);
    this.#visible = Math.max(this.#visible, mayBeLast ? front - LAST_BYTES : front);
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
   * Goes on with the whole, right body in another spool, which is taken over. Readers who have seen no byte that differs do
   * not notice; the others fail, and if there are or were any, `misled` is called before that.
   */
  async replace(spool: Spool, size: number, misled: () => void): Promise<void> {
    this.#trusted = await commonPrefix(this.#spool, spool, Math.min(this.#shown, size));
    if (this.#shown > this.#trusted) misled();
    const former = this.#spool;
    this.#spool = this.#overflow(spool);
    this.#pieces.forget();
    this.#front = size;
    this.complete();
    // Nothing depends on the outcome: nobody reads it any more.
    await former.close().catch(() => {});
  }

  /** Has everybody look again who waits for a change. */
  wake(): void {
    this.#changes.tell();
  }

  /** Resolves at the next {@link wake}, which every change of front or state is. */
  change(): Promise<void> {
    return this.#changes.next();
  }

  /** A place in the file that keeps what is behind it readable. */
  cursor(start: number): Cursor {
    const place = { at: start };
    let lent: Lent | undefined;
    this.#cursors.add(place);
    return {
      get at() {
        return place.at;
      },
      read: async (end) => {
        lent?.done();
        lent = undefined;
        lent = await this.#pieces.read(this.#spool, place.at, end);
        place.at += lent.bytes.length;
        this.#passed();
        return lent.bytes;
      },
      close: () => {
        // What was lent last is not taken back: it may be on its way to a client who has just gone.
        this.#cursors.delete(place);
        this.#passed();
      },
    };
  }

  #passed(): void {
    // A reader to come wants it from the start.
    if (!this.#spool.full || this.#holds > 0 || !this.#everHeld) return;
    let position = this.#front;
    for (const { at } of this.#cursors) position = Math.min(position, at);
    this.#spool.passed(position);
  }

  /**
   * Keeps the bytes readable for one {@link reader}, or until {@link release}. False if it is too late for that.
   * @throws the failure, if it has failed
   */
  hold(): boolean {
    if (this.#state instanceof Error) throw this.#state;
    if (this.#users === 0 || !this.#spool.whole) return false;
    this.#users++;
    this.#holds++;
    this.#everHeld = true;
    return true;
  }

  /** Gives up a {@link hold}. */
  release(): void {
    this.#holds--;
    this.leave();
  }

  /** Whoever filled it, or read it, has done so. */
  leave(): void {
    this.#users--;
    this.#passed();
    // Nothing depends on the outcome: the bytes are kept already, or not wanted.
    if (this.#users === 0) {
      this.#pieces.forget();
      this.#spool.close().catch(() => {});
    }
    if (this.isAbandoned) this.onAbandoned();
    this.wake();
  }

  /**
   * The bytes from `start` up to `end`, or to the end if undefined, as they arrive; fails if the whole fails. The last of
   * the file come when the whole is known to be right; a part that ends before them need not wait for that. Takes over one
   * {@link hold}.
   */
  reader(start: number, end: number | undefined): Reader {
    const cursor = this.cursor(start);
    this.#holds--;
    const last = end ?? this.size;
    let spool = this.#spool;
    let open = true;
    const close = () => {
      if (!open) return;
      open = false;
      cursor.close();
      this.leave();
    };
    const next = async (): Promise<Buffer | undefined> => {
      while (open) {
        const { at } = cursor;
        // Before the front, because a client should stop at its known end and not wait for what comes after.
        if (at === last) break;
        if (this.#state instanceof Error) throw this.#state;
        if (spool !== this.#spool) {
          if (at > start && at > this.#trusted)
            throw new CacheError('upstream', 'the first source sent wrong bytes');
          spool = this.#spool;
        }
        const visible = Math.min(this.#visible, end ?? Number.POSITIVE_INFINITY);
        if (at < visible) {
          const bytes = await cursor.read(visible);
          this.#shown = Math.max(this.#shown, cursor.at);
          return bytes;
        }
        if (this.#state === 'complete') break;
        await this.change();
      }
      close();
      return undefined;
    };
    return { next, close };
  }
}
