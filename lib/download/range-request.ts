// One request for a range to a source: asks, sees that the answer fits, and writes what comes of it at its offset.
import { CacheError } from '../errors.ts';
import type { Answer, Part } from '../upstream/answer.ts';
import { Meter } from './meter.ts';
import type { Claim, Ranges } from './ranges.ts';
import { PROGRESS_BYTES, type RangeRequest, type SourceState, type Sources } from './sources.ts';

export interface Task {
  readonly ranges: Ranges;
  readonly sources: Sources;
  /** Undefined while nobody has told. */
  readonly size: number | undefined;
  /** What a narinfo says of that where nobody who has the body does, and no more than a hint; else 0. */
  readonly said: number;
  /** Whether a hash will tell in the end if the bytes of several answers belong together. */
  readonly hashKnown: boolean;
  readonly signal: AbortSignal;
  /** @throws CacheError `storage`, which ends the download */
  write(chunk: Buffer, at: number): Promise<void>;
  /** Whether what has been written is all of the body; undefined if that shows only after its end. */
  isAll(): Promise<boolean | undefined>;
  /** Called when the front may have moved. */
  advanced(): void;
}

/** A source, a range to get from it, and its answer if that is there already. */
export interface Job {
  readonly state: SourceState;
  readonly claim: Claim;
  readonly answer?: Answer | undefined;
}

interface Listener {
  /** It is known by now whether the source gives parts. */
  answered(): void;
  /** Bytes per millisecond, of this answer so far. */
  pace(bytesPerMs: number): void;
}

/** A source below this part of another's pace is left. */
const CRAWL = 1 / 10;

/**
 * Gets the claim, or what is left of it when others have helped; from a whole body also what is missing beyond it. How far it
 * has come is in the claim, whether it ends or fails.
 * @throws CacheError of the source, `storage` or `aborted`
 */
export async function getRange(
  task: Task,
  job: Job,
  request: RangeRequest,
  listener: Listener,
): Promise<void> {
  const { hashKnown, ranges, signal, size } = task;
  const { state, claim, answer: given } = job;
  const { label } = state.source;
  const from = claim.at;
  const answer = given ?? (await state.source.ask(signal, partOf(task, job, request)));
  if (answer === undefined) throw new CacheError('not-found', `${label}: says that it has no such thing`);
  request.answered = true;
  // The first answer was requested before the download existed, so this signal has to cut it.
  const cut = () => answer.body.destroy();
  signal.addEventListener('abort', cut);
  try {
    signal.throwIfAborted();
    state.accept(answer, size, hashKnown);
    if (answer.start > claim.at) {
      throw new CacheError(
        'upstream',
        `${label}: answered from byte ${answer.start}, asked from ${claim.at}`,
      );
    }
    if (ranges.endless && answer.size !== undefined) ranges.endsAt(answer.size);
    // A whole body says nothing about ranges if the whole was asked for.
    if (answer.partial || (given === undefined && !request.whole)) state.answersRanges = answer.partial;
    listener.answered();
    await write(task, job, answer, listener);
  } finally {
    signal.removeEventListener('abort', cut);
    answer.body.destroy();
  }
  if (claim.at >= claim.end) return;
  // A shorter part will do, if it is all that was announced and not so small that the download would never end.
  if (answer.partial && claim.at - from >= PROGRESS_BYTES && claim.at === answer.end) return;
  const isWhole = claim.end === Number.POSITIVE_INFINITY && !answer.partial;
  // Some proxies end a cut body of unknown length cleanly.
  if (isWhole && (claim.at >= task.said || (await task.isAll()) !== false)) ranges.endsAt(claim.at);
  else {
    const expected = isWhole ? task.said : claim.end;
    throw new CacheError('upstream', `${label}: ended at byte ${claim.at}, expected ${expected}`);
  }
}

/** What to ask for; undefined for all of it. */
function partOf({ ranges }: Task, { state, claim }: Job, { whole }: RangeRequest): Part | undefined {
  // If the end is not known it may be just here, and a range behind it would be refused.
  const start = ranges.endless ? Math.max(claim.at - 1, 0) : claim.at;
  const toTheEnd = whole || claim.end === Number.POSITIVE_INFINITY || state.answersRanges === false;
  return { start, end: toTheEnd ? undefined : claim.end, whole };
}

/** Writes what of the answer is wanted: from a whole body also what is missing beyond the claim. */
async function write(task: Task, { state, claim }: Job, answer: Answer, listener: Listener): Promise<void> {
  const { advanced, ranges, sources } = task;
  const meter = new Meter(state, answer, listener.pace);
  let at = answer.start;
  for await (const chunk of answer.body) {
    do {
      const wanted = chunk.subarray(Math.max(claim.at - at, 0), Math.max(claim.end - at, 0));
      if (wanted.length === 0) break;
      await task.write(wanted, claim.at);
      claim.at += wanted.length;
      state.given += wanted.length;
      if (answer.undone !== undefined) state.wasCoded = true;
      state.delivered.set(claim, performance.now());
      advanced();
    } while (claim.at >= claim.end && !answer.partial && ranges.extend(claim));
    at += chunk.length;
    meter.note(chunk.length);
    // Another worker took the rest. An answer that ends here anyway is read to its end, which keeps its connection.
    if (claim.at >= claim.end && at < (answer.end ?? Number.POSITIVE_INFINITY)) break;
    abandonIfCrawling(sources, state, meter);
  }
  meter.end();
}

function abandonIfCrawling(sources: Sources, state: SourceState, { lately }: Meter): void {
  const other = sources.paceBeside(state);
  // Several connections share one link, while the other source may have been measured alone on it.
  if (other === undefined || lately === undefined || lately * state.workers > other * CRAWL) return;
  state.slow = true;
  throw new CacheError('upstream', `${state.source.label}: far slower than another source`);
}
