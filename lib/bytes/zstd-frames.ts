// Where the frames of a zstd stream end (RFC 8878, section 3.1). Node's decoder stops in silence after the first frame
// while Nix writes one per 16 MiB, and it accepts a frame that is cut off: so somebody must count.
import { CacheError } from '../errors.ts';

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const CHECKSUM_BYTES = 4;

/** A run of bytes of one frame; `last` when the frame ends with it. */
export interface FramePiece {
  readonly bytes: Buffer;
  readonly last: boolean;
}

/** What the next bytes are; `need` is how many must be there to tell. */
type State =
  | { readonly kind: 'start'; readonly need: number }
  | { readonly kind: 'skippable'; readonly need: 8 }
  | { readonly kind: 'block'; readonly need: 3 }
  | { readonly kind: 'content'; left: number; readonly then: 'block' | 'checksum' | 'end' };

export class ZstdFrames {
  #state: State = { kind: 'start', need: 5 };
  /** The beginning of a header whose end has not come yet. */
  #partial: Buffer = Buffer.alloc(0);
  #checksum = false;
  /** In a frame that carries no data of the stream. */
  #skipping = false;
  #frames = 0;

  /**
   * Cuts the next bytes of the stream at the ends of its frames.
   * @throws CacheError `invalid`
   */
  *push(chunk: Buffer): Generator<FramePiece> {
    let rest = this.#partial.length === 0 ? chunk : Buffer.concat([this.#partial, chunk]);
    this.#partial = Buffer.alloc(0);
    for (;;) {
      const state = this.#state;
      if (rest.length === 0 && !(state.kind === 'content' && state.left === 0)) return;
      if (state.kind === 'content') {
        const bytes = rest.subarray(0, state.left);
        rest = rest.subarray(bytes.length);
        state.left -= bytes.length;
        const skipped = this.#skipping;
        const last = state.left === 0 && this.#afterContent(state.then);
        if (!skipped) yield { bytes, last };
        continue;
      }
      if (rest.length < state.need) {
        // The chunk is only lent: its buffer may hold other bytes by the next call.
        this.#partial = Buffer.from(rest);
        return;
      }
      const length = this.#header(state, rest);
      if (length === undefined) continue;
      if (!this.#skipping) yield { bytes: rest.subarray(0, length), last: false };
      rest = rest.subarray(length);
    }
  }

  /** @throws CacheError `invalid` if the stream does not end with a whole frame */
  end(): void {
    if (this.#state.kind === 'start' && this.#partial.length === 0 && this.#frames > 0) return;
    throw new CacheError('invalid', `zstd stream ends in the middle of frame ${this.#frames + 1}`);
  }

  /** Reads a header at the start of `bytes`; its length, or undefined if more of it must be seen first. */
  #header(state: Exclude<State, { kind: 'content' }>, bytes: Buffer): number | undefined {
    if (state.kind === 'block') return this.#block(bytes);
    if (state.kind === 'skippable') {
      this.#content(bytes.readUInt32LE(4), 'end');
      return 8;
    }
    const magic = bytes.readUInt32LE(0);
    this.#skipping = (magic & 0xfffffff0) >>> 0 === SKIPPABLE;
    if (this.#skipping) {
      this.#state = { kind: 'skippable', need: 8 };
      return undefined;
    }
    if (magic !== MAGIC)
      throw new CacheError('invalid', `zstd frame ${this.#frames + 1} begins with ${magic.toString(16)}`);
    const length = frameHeaderLength(bytes[4] as number);
    if (bytes.length < length) {
      this.#state = { kind: 'start', need: length };
      return undefined;
    }
    this.#checksum = ((bytes[4] as number) & 4) !== 0;
    this.#state = { kind: 'block', need: 3 };
    return length;
  }

  #block(bytes: Buffer): number {
    const header = bytes.readUIntLE(0, 3);
    const type = (header >> 1) & 3;
    if (type === 3)
      throw new CacheError('invalid', `zstd frame ${this.#frames + 1} has a block of reserved type`);
    const last = (header & 1) === 1;
    const after = last ? (this.#checksum ? 'checksum' : 'end') : 'block';
    // A block of type 1 is one byte, repeated.
    this.#content(type === 1 ? 1 : header >> 3, after);
    return 3;
  }

  #content(left: number, then: 'block' | 'checksum' | 'end'): void {
    this.#state = { kind: 'content', left, then };
  }

  /** Whether the frame has ended with this content. */
  #afterContent(then: 'block' | 'checksum' | 'end'): boolean {
    if (then === 'checksum') this.#content(CHECKSUM_BYTES, 'end');
    else if (then === 'block') this.#state = { kind: 'block', need: 3 };
    else {
      this.#state = { kind: 'start', need: 5 };
      this.#frames++;
      return true;
    }
    return false;
  }
}

/** Bytes of a frame's header, magic included, by its descriptor. */
function frameHeaderLength(descriptor: number): number {
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const dictionaryId = [0, 1, 2, 4][descriptor & 3] as number;
  const contentSize = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag;
  return 5 + (singleSegment ? 0 : 1) + dictionaryId + contentSize;
}
