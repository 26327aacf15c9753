// Buffers that are used again. A body of a gigabyte passes through a few of them, instead of leaving ten thousand to the
// garbage collector, which takes its time.

/** What one buffer holds at most: as much as a client is sent at once. */
export const PIECE_BYTES = 128 * 1024;
/** Shorter bodies do with a buffer of their own. */
const SMALL_BYTES = 32 * 1024;
const MAX_SPARE = 64;

const spare: Buffer[] = [];

/** A buffer with room for `length` bytes, or, if that is more, for {@link PIECE_BYTES}. */
export function takeBuffer(length: number): Buffer {
  if (length <= SMALL_BYTES) return Buffer.allocUnsafe(length);
  return spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
}

/** Gives back a buffer that nobody looks at any more. */
export function giveBuffer(buffer: Buffer): void {
  if (buffer.length === PIECE_BYTES && spare.length < MAX_SPARE) spare.push(buffer);
}
