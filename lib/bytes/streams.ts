// What bodies have in common, whether they come from upstreams, from clients or from the disk.
import type { Readable } from 'node:stream';
import type { CacheError } from '../errors.ts';

/** A body that is read piece by piece. */
export interface Reader {
  /** The next piece, lent until the next call; undefined at the end. One call at a time. */
  read(): Promise<Buffer | undefined>;
  /** Ends it early; does nothing after the end, or a second time. */
  close(): void;
}

/**
 * The stream's chunks, failing with `stalled()` when none comes for `ms`. The clock runs only while we wait: what
 * the consumer takes its time for is no stall. Leaving the loop leaves the stream as it is.
 */
export async function* untilStalled(
  stream: Readable,
  ms: number,
  stalled: () => CacheError,
): AsyncGenerator<Buffer> {
  const chunks: AsyncIterator<Buffer> = stream.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]();
  try {
    for (;;) {
      const timer = setTimeout(() => stream.destroy(stalled()), ms);
      const { done, value } = await chunks.next().finally(() => clearTimeout(timer));
      if (done) return;
      yield value;
    }
  } finally {
    await chunks.return?.();
  }
}

/** The same chunks, failing with `tooLong()` instead of the first that is beyond `max` bytes. */
export async function* atMost(
  chunks: AsyncIterable<Buffer>,
  max: number,
  tooLong: () => CacheError,
): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > max) throw tooLong();
    yield chunk;
  }
}

/** All of `chunks`, a body that is small; `tooLong` makes the error for one of more than `max` bytes. */
export async function collect(
  chunks: AsyncIterable<Buffer>,
  max: number,
  tooLong: () => CacheError,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of atMost(chunks, max, tooLong)) parts.push(chunk);
  return Buffer.concat(parts);
}

/** A reader of bytes that are in memory, in one piece. */
export function readerOf(bytes: Buffer): Reader {
  let rest: Buffer | undefined = bytes;
  const close = () => {
    rest = undefined;
  };
  const read = async () => {
    const piece = rest;
    close();
    return piece?.length === 0 ? undefined : piece;
  };
  return { read, close };
}

/** The pieces of `reader`, which it closes; each is the consumer's until it asks for the next. */
export async function* piecesOf(reader: Reader): AsyncGenerator<Buffer> {
  try {
    for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) yield piece;
  } finally {
    reader.close();
  }
}
