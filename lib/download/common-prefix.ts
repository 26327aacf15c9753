// How far two spools agree.
import type { Spool } from '../store/scratch.ts';

const READ_BYTES = 256 * 1024;

/** How many of the first `length` bytes the two have in common; what can't be read counts as different. */
export async function commonPrefix(
  a: Pick<Spool, 'read'>,
  b: Pick<Spool, 'read'>,
  length: number,
): Promise<number> {
  const left = Buffer.allocUnsafe(READ_BYTES);
  const right = Buffer.allocUnsafe(READ_BYTES);
  for (let at = 0; at < length; ) {
    const size = Math.min(READ_BYTES, length - at);
    const read = Math.min(
      await readFully(a, left.subarray(0, size), at),
      await readFully(b, right.subarray(0, size), at),
    );
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

async function readFully(spool: Pick<Spool, 'read'>, buffer: Buffer, at: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const read = await spool.read(buffer.subarray(done), at + done);
    if (read === 0) break;
    done += read;
  }
  return done;
}
