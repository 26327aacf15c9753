// What both directions, from upstreams and from uploads, need of streams.
import type { Readable, Transform } from 'node:stream';
import * as zlib from 'node:zlib';
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

/** A Content-Encoding header's coding; undefined if it leaves the body as it is. */
export function codingOf(header: string | undefined): string | undefined {
  const coding = header?.trim().toLowerCase();
  return coding === undefined || coding === '' || coding === 'identity' ? undefined : coding;
}

/** A transform that undoes a coding; undefined for one that can't be undone here. */
export function decoderOf(coding: string): Transform | undefined {
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return zlib.createGunzip();
    case 'deflate':
      return zlib.createInflate();
    case 'br':
      return zlib.createBrotliDecompress();
    default:
      // Not zstd: Node's decoder ends silently after the first frame, and Nix writes several.
      return undefined;
  }
}
