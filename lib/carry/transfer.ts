// What an export and an import have in common: who watches them, and which failures end them.
import { CacheError, describe, isCacheError } from '../errors.ts';

export interface TransferWatch {
  /** So many paths there will be. */
  total(paths: number): void;
  /** So many bytes of a NAR have come. */
  bytes(count: number): void;
  /** A path is there: it was taken, or had been before. */
  done(how: 'taken' | 'there'): void;
  /** Something else of a path was taken: a listing, a log, … */
  besides(): void;
  /** So many objects of the cache have been looked at, for what belongs to the paths. */
  looked(objects: number): void;
  /** That path could not be taken. */
  failed(label: string, why: string): void;
}

interface Watched {
  readonly watch: TransferWatch;
  readonly signal: AbortSignal;
}

/**
 * Runs `work` for one path; where it fails, `watch` is told and the answer is undefined.
 * @throws CacheError what the next path would meet too: `storage`, `full`, `aborted`
 */
export async function attempt<T>(
  { watch, signal }: Watched,
  label: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    checkAborted(signal);
    if (!isCacheError(error) || isCacheError(error, 'storage') || isCacheError(error, 'full')) throw error;
    watch.failed(label, describe(error));
    return undefined;
  }
}

/** @throws CacheError `aborted` if the signal has */
export function checkAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new CacheError('aborted', 'interrupted; run it again to go on', signal.reason);
}

/** The chunks, each told to `watch`. */
export async function* counted(
  chunks: AsyncIterable<Buffer>,
  watch: TransferWatch,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    checkAborted(signal);
    watch.bytes(chunk.length);
    yield chunk;
  }
}
