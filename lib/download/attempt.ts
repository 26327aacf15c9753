// One attempt at a body: workers fill a growing file from some sources while the verdict follows its front. A bad verdict ends
// the workers; when they end early, there is no verdict.
import { setMaxListeners } from 'node:events';
import { CacheError, isCacheError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Answer } from '../upstream/answer.ts';
import { fetchAll } from './crew.ts';
import type { Growing } from './growing.ts';
import type { Job } from './range-request.ts';
import { Ranges } from './ranges.ts';
import type { SourceState, Sources } from './sources.ts';
import { type Arrived, canTell, type Expected, type Filling, verify } from './verify.ts';

export interface Fill {
  readonly growing: Growing;
  readonly sources: Sources;
  /** One of these, and what it has answered already. */
  readonly first?: { readonly state: SourceState; readonly answer: Answer } | undefined;
  /** Bytes that are there already. */
  readonly begun?: number;
  /** Undefined if nobody told beforehand. */
  readonly size: number | undefined;
  readonly expected: Expected;
  readonly connections: number;
  /** Called when bytes have been written. Throws to end the attempt. */
  readonly written: () => void;
  /** In messages. */
  readonly path: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** @throws CacheError `invalid` if what came is wrong; else that of the last source that failed, `storage` or `aborted` */
export async function fill(options: Fill): Promise<Arrived> {
  const { begun = 0, connections, expected, first, growing, log, path, signal, size, sources } = options;
  const ranges = new Ranges(size ?? Number.POSITIVE_INFINITY, begun);
  growing.advance(begun);
  const claim =
    first && ranges.claim(first.answer.partial ? (first.answer.end ?? 0) - begun : Number.POSITIVE_INFINITY);
  const job: Job | undefined = first && claim && { ...first, claim };
  if (job === undefined) first?.answer.body.destroy();
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  stop.signal.addEventListener('abort', () => growing.stop());
  const onAbort = () => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  const hashKnown = canTell(expected) || expected.named !== undefined;
  const filling: Filling = { state: 'running' };
  const end = (state: Filling['state']) => {
    filling.state = state;
    growing.wake();
  };
  /** Asks whoever judges it, as far as it is there. */
  const isAll = () =>
    new Promise<boolean | undefined>((resolve, reject) => {
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true });
      filling.question = resolve;
      growing.wake();
    });
  const task = {
    ...{ ranges, sources, connections, log, size, hashKnown, signal: stop.signal },
    write: async (chunk: Buffer, at: number) => {
      await growing.write(chunk, at);
      options.written();
    },
    said: expected.said ?? 0,
    isAll,
    advanced: () => growing.advance(ranges.front),
    abort: (reason: unknown) => stop.abort(reason),
  };
  const verdict = verify(growing, expected, filling, path);
  // A bad verdict may come early; then nobody waits for the rest.
  verdict.catch((error) => stop.abort(error));
  try {
    await fetchAll(task, job);
    growing.advance(ranges.front);
    end('ended');
  } catch (error) {
    if (filling.state === 'running') end('failed');
    // Report the verdict's error if it ended the fetching, else that of the fetching.
    const reason = await verdict.then(
      () => error,
      (bad) => bad,
    );
    throw isCacheError(reason, 'invalid') ? reason : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return verdict.catch((error) => {
    // Without a hash of the file it shows only now that a body without a length was cut.
    const isCut = ranges.front < task.said && expected.fileHash === undefined;
    if (!isCut || !isCacheError(error, 'invalid')) throw error;
    throw new CacheError('upstream', `${path}: ended at byte ${ranges.front}, expected ${task.said}`, error);
  });
}
