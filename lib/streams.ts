// What both directions, from upstreams and from uploads, need of streams.
import type { Readable } from 'node:stream';
import type { CacheError } from './errors.ts';

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

/** All of `chunks`, a body that is small; `tooLong` makes the error for one of more than `max` bytes. */
export async function collect(
  chunks: AsyncIterable<Buffer>,
  max: number,
  tooLong: () => CacheError,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > max) throw tooLong();
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}
