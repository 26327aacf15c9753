// Buffers that are used again. A body of a gigabyte passes through a few of them, instead of leaving ten thousand to the
// garbage collector, which takes its time: with a buffer of its own for each small NAR, the process held hundreds of MiB that nobody
// looked at any more. What is spare for long goes back to the system.

/** Of pieces from the disk for those who read slowly; also holds most small NARs whole. */
export const SMALL_PIECE_BYTES = 64 * 1024;
/** What readers of a download that is under way read in one piece. */
export const PIECE_BYTES = 128 * 1024;
/** Of pieces from the disk for those who read fast. */
export const LARGE_PIECE_BYTES = 256 * 1024;

/** Shorter bodies do with a buffer of their own, a slice of Node's. */
const OWN_BYTES = 4000;
/** Spare, of each size. */
const MOST_SPARE_BYTES = 8 << 20;
/** Large ones at once: whoever reads slowly at the end of a fast beginning holds two of them until they are through. */
const MOST_LARGE = 64;
const IDLE_MS = 5000;

/** Bytes in a buffer that is used again. */
export interface Lent {
  readonly bytes: Buffer;
  /** Called once, when nobody looks at them any more; `still`: not by us, but somebody may. */
  giveBack(still?: boolean): void;
}

/** The first `length` bytes of a buffer that was taken, until they are given back. */
export function lend(buffer: Buffer, length: number): Lent {
  return {
    bytes: buffer.length === length ? buffer : buffer.subarray(0, length),
    giveBack: (still = false) => (still ? leaveBuffer(buffer) : giveBuffer(buffer)),
  };
}

const spares = new Map<number, Buffer[]>(
  [SMALL_PIECE_BYTES, PIECE_BYTES, LARGE_PIECE_BYTES].map((bytes) => [bytes, []]),
);
let large = 0;
let usedSince = false;
let sweeping: NodeJS.Timeout | undefined;

/** A buffer with room for `length` bytes, or, if that is more, for `most`, which is one of the three sizes. */
export function takeBuffer(length: number, most = PIECE_BYTES): Buffer {
  if (length <= OWN_BYTES) return Buffer.allocUnsafe(length);
  const size = Math.min(most, sizeFor(length));
  if (size === LARGE_PIECE_BYTES) {
    if (large >= MOST_LARGE) return takeBuffer(SMALL_PIECE_BYTES);
    large++;
  }
  usedSince = true;
  return spares.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
}

function sizeFor(length: number): number {
  if (length <= SMALL_PIECE_BYTES) return SMALL_PIECE_BYTES;
  return length <= PIECE_BYTES ? PIECE_BYTES : LARGE_PIECE_BYTES;
}

/** Gives back a buffer that nobody looks at any more. */
export function giveBuffer(buffer: Buffer): void {
  const spare = spares.get(buffer.length);
  if (spare === undefined) return;
  leaveBuffer(buffer);
  if (spare.length * buffer.length >= MOST_SPARE_BYTES) return;
  spare.push(buffer);
  sweeping ??= setInterval(sweep, IDLE_MS).unref();
}

/** Gives up a buffer that somebody may still look at: it is nobody's to use again. */
export function leaveBuffer({ length }: Buffer): void {
  if (length === LARGE_PIECE_BYTES) large--;
}

/** Lets go of all that is spare when nobody has taken any for a while. */
function sweep(): void {
  if (usedSince) {
    usedSince = false;
    return;
  }
  clearInterval(sweeping);
  sweeping = undefined;
  for (const spare of spares.values()) spare.length = 0;
}
