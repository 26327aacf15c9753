// A file that grows while it is read: the front moves, and any number of readers follow it, each at its own pace. Its last
// piece stays hidden until somebody has said that the whole is right; whoever reads less than that waits for nothing but bytes.

import type { Reader } from '../bytes/streams.ts';
import type { Spool } from '../store/scratch.ts';
import { Changes } from '../sync/changes.ts';
import { commonPrefix } from './common-prefix.ts';
import { HeldReader } from './held-reader.ts';
import { Overflow } from './overflow.ts';
import { type Lent, Pieces } from './pieces.ts';
import { Readership } from './readership.ts';

/** How much of the file stays hidden when its front comes to the end at once, or when nobody knows where that is. */
const LAST_BYTES = 64 * 1024;

/** How it stands with the file. */
export type State =
  /** More of it comes. */
  | { readonly kind: 'growing' }
  /** No more comes, and nobody has said yet whether it is right. */
  | { readonly kind: 'filled' }
  /** No more comes, and it is not all. Another file may come in its place. */
  | { readonly kind: 'broken' }
  /** It is all there and right. Up to `trusted`, readers of the file that was here before have seen nothing but right bytes. */
  | { readonly kind: 'complete'; readonly trusted: number }
  /** It will never be there. */
  | { readonly kind: 'failed'; readonly error: Error };

/** A place in the file that keeps what is behind it readable. Close it. */
export interface Cursor {
  readonly at: number;
  /** Some of the bytes from here up to `end`, which are there; lent until the next call. */
  read(end: number): Promise<Buffer>;
  close(): void;
}

/** Keeps all of the file readable for somebody who is about to read. Open it or close it, once. */
export interface Held {
  /**
   * The bytes from `start` up to `end`, or to the end if undefined, as they arrive; fails if the whole fails. The last of
   * the file come when the whole is known to be right; a part that ends before them need not wait for that.
   */
  open(start: number, end: number | undefined): Reader;
  close(): void;
}

interface GrowingOptions {
  /** Bytes of the finished file; undefined while nobody can tell. */
  readonly size: number | undefined;
  /** Whether it may turn out to be wrong. */
  readonly isJudged: boolean;
  /** Called once, when the disk takes no more of it. */
  readonly onFull?: (reason: string) => void;
  /** Called when the last of those who read it has left. */
  readonly onAbandoned?: () => void;
}

export class Growing {
  readonly #options: GrowingOptions;
  #spool: Overflow;
  #state: State = { kind: 'growing' };
  #front = 0;
  #visible = 0;
  #shown = 0;
  /** Of front and state. */
  readonly #changes = new Changes();
  readonly #readership = new Readership();
  readonly #cursors = new Set<{ readonly at: number }>();
  readonly #pieces = new Pieces();

  constructor(spool: Spool, options: GrowingOptions) {
    this.#options = options;
    this.#spool = this.#overflow(spool);
  }

  #overflow(spool: Spool): Overflow {
    const { onFull = () => {} } = this.#options;
    return new Overflow(spool, { onFull, front: () => this.#front });
  }

  get state(): State {
    return this.#state;
  }

  get front(): number {
    return this.#front;
  }

  get size(): number | undefined {
    return this.#options.size;
  }

  /** How far readers may read now. */
  get visible(): number {
    return this.#visible;
  }

  /** How far any reader has come. */
  get shown(): number {
    return this.#shown;
  }

  /** A reader has come so far. */
  show(at: number): void {
    this.#shown = Math.max(this.#shown, at);
  }

  /** Whether whoever read it, or was about to, has left. */
  get isAbandoned(): boolean {
    return this.#readership.state === 'abandoned';
  }

  /** Whether it passes through memory, for want of disk. */
  get isPassing(): boolean {
    return this.#spool.full;
  }

  /** The spool, once all that was written is in it; undefined if the disk could not take it. */
  async file(): Promise<Spool | undefined> {
    await this.#spool.settled();
    return this.#spool.file;
  }

  /** @throws CacheError `aborted` if it was stopped before there was room */
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
    const { isJudged, size } = this.#options;
    // The piece that completes the file waits for the verdict, so that a wrong body that came at once is never seen at all.
    // If the size is not known, any piece may be the last.
    const mayBeLast = front === size || (size === undefined && isJudged);
    this.#visible = Math.max(this.#visible, mayBeLast ? front - LAST_BYTES : front);
    this.#changes.tell();
  }

  /** No more comes of those who have filled it: that is all of it, or not. */
  end(kind: 'filled' | 'broken'): void {
    this.#become({ kind });
  }

  /** All of it is there and right. */
  complete(): void {
    this.#visible = this.#front;
    this.#become({ kind: 'complete', trusted: Number.POSITIVE_INFINITY });
  }

  /** It will never be there: every reader fails. */
  fail(error: Error): void {
    this.#become({ kind: 'failed', error });
  }

  /**
   * Goes on with the whole, right body in another spool, which is taken over. Readers who have seen no byte that differs do
   * not notice; the others fail, and if there are or were any, `misled` is called before that.
   */
  async replace(spool: Spool, size: number, misled: () => void): Promise<void> {
    const trusted = await commonPrefix(this.#spool, spool, Math.min(this.#shown, size));
    if (this.#shown > trusted) misled();
    const former = this.#spool;
    this.#spool = this.#overflow(spool);
    this.#pieces.forget();
    this.#front = size;
    this.#visible = size;
    this.#become({ kind: 'complete', trusted });
    // Nothing depends on the outcome: nobody reads it any more.
    await former.close().catch(() => {});
  }

  #become(state: State): void {
    this.#state = state;
    this.#changes.tell();
  }

  /** Has everybody look again who waits for a change. */
  look(): void {
    this.#changes.tell();
  }

  /** Resolves when front or state is another, or at the next {@link look}. */
  change(): Promise<void> {
    return this.#changes.next();
  }

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
        // The last lent piece is not taken back: it may still be on its way to a client that has just left.
        this.#cursors.delete(place);
        this.#passed();
      },
    };
  }

  #passed(): void {
    if (!this.#spool.full || this.#readership.needsAll) return;
    let position = this.#front;
    for (const { at } of this.#cursors) position = Math.min(position, at);
    this.#spool.passed(position);
  }

  /**
   * Undefined if it is too late to read it from here.
   * @throws the failure, if it has failed
   */
  hold(): Held | undefined {
    if (this.#state.kind === 'failed') throw this.#state.error;
    if (this.#readership.state === 'over' || !this.#spool.whole) return undefined;
    this.#readership.came();
    return {
      open: (start, end) => {
        this.#readership.began();
        return new HeldReader(this, start, end, () => {
          this.#readership.left();
          this.#left();
        });
      },
      close: () => {
        this.#readership.turnedAway();
        this.#left();
      },
    };
  }

  /** Whoever filled it, or has asked somebody to, is done with it. */
  done(): void {
    this.#readership.filled();
    this.#left();
  }

  #left(): void {
    this.#passed();
    const { state } = this.#readership;
    if (state === 'over') {
      this.#pieces.forget();
      // Nothing depends on the outcome: the bytes are kept already, or not wanted.
      this.#spool.close().catch(() => {});
    }
    if (state === 'abandoned') this.#options.onAbandoned?.();
    // A reader may have been closed while it waits.
    this.#changes.tell();
  }
}
