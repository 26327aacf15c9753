// The workers of a download. Each takes the next missing range to the best source and writes what comes at its offset.
// One that fails puts the rest back, and whoever is next takes it elsewhere: resume, failover and parallel connections
// are this one rule.
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Answer } from '../upstream/answer.ts';
import { Meter } from './meter.ts';
import { MIN_RANGE, RANGE_MS, rangeLength } from './range-length.ts';
import type { Claim, Ranges } from './ranges.ts';
import { PROGRESS_BYTES, type SourceState, type Sources } from './sources.ts';

export interface Task {
  readonly ranges: Ranges;
  readonly sources: Sources;
  /** Undefined while nobody has told. */
  readonly size: number | undefined;
  /** Whether a hash will tell in the end if the bytes of several answers belong together. */
  readonly hashKnown: boolean;
  readonly connections: number;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Ends what the other workers are doing. */
  abort(reason: unknown): void;
  /** @throws CacheError `storage`, which ends the download */
  write(chunk: Buffer, at: number): Promise<void>;
  /** Called when the front may have moved. */
  advanced(): void;
}

/** A source, a range to get from it, and its answer if that is there already. */
export interface Job {
  readonly state: SourceState;
  readonly claim: Claim;
  readonly answer?: Answer;
}

/** A source below this part of another's pace is left. */
const CRAWL = 1 / 10;

/**
 * Gets every missing range, beginning with `first` if there is such a beginning.
 * @throws CacheError of the last source that failed, when none is left; or `storage`, or `aborted`
 */
export async function fetchAll(task: Task, first: Job | undefined): Promise<void> {
  const crew = new Crew(task);
  await crew.run(first);
}

class Crew {
  readonly #task: Task;
  readonly #paces = new Map<Claim, number>();
  #busy = 0;
  #failure: unknown;
  #wakers: (() => void)[] = [];

  constructor(task: Task) {
    this.#task = task;
  }

  async run(first: Job | undefined): Promise<void> {
    const { connections, ranges, signal } = this.#task;
    const onAbort = () => this.#fail(signal.reason);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    // Before the others, who would find nobody busy and take that for the end.
    const lead = this.#work(first && this.#begin(first));
    await Promise.all([lead, ...Array.from({ length: connections - 1 }, () => this.#work())]);
    signal.removeEventListener('abort', onAbort);
    if (this.#failure !== undefined) throw this.#failure;
    if (!ranges.complete) throw new CacheError('upstream', 'no source is left');
  }

  async #work(first?: Job): Promise<void> {
    for (let job = first ?? (await this.#nextJob()); job !== undefined; job = await this.#nextJob()) {
      await this.#do(job);
      this.#busy--;
      this.#wake();
    }
  }

  /** At once when it is clear what to do: others look for work before its owner has come to it. */
  #begin(job: Job): Job {
    this.#busy++;
    job.state.workers++;
    return job;
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }

  /** Waits until there is something to do; undefined when there will be nothing more. */
  async #nextJob(): Promise<Job | undefined> {
    const { ranges, sources } = this.#task;
    while (this.#failure === undefined && !ranges.complete) {
      const state = sources.pick();
      const waitMs = (state?.notBefore ?? 0) - performance.now();
      if (state !== undefined && waitMs <= 0) {
        const claim = ranges.claim(this.#length(state)) ?? ranges.split((one) => this.#needsHelp(one, state));
        if (claim !== undefined) return this.#begin({ state, claim });
      }
      if (this.#busy === 0 && (state === undefined || ranges.unclaimed === 0)) return undefined;
      await this.#change(waitMs);
    }
    return undefined;
  }

  /** Waits until somebody is done, or for so long if that is any time: others may be busy for long, or wait for this one. */
  async #change(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((wake) => {
      this.#wakers.push(wake);
      if (ms > 0) timer = setTimeout(wake, ms);
    });
    clearTimeout(timer);
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#task.abort(error);
    this.#wake();
  }

  #length(state: SourceState): number {
    if (state.answersRanges === false) return Number.POSITIVE_INFINITY;
    const { bytesPerMs } = state.source.upstream.pace;
    return rangeLength(bytesPerMs, this.#task.ranges.unclaimed, this.#task.connections);
  }

  /** Whether the owner of the claim will still be busy with it when half of it could long have been had elsewhere. */
  #needsHelp(claim: Claim, helper: SourceState): boolean {
    const left = claim.end - claim.at;
    const pace = this.#paces.get(claim);
    return helper.answersRanges === true && pace !== undefined && left > MIN_RANGE && left / pace > RANGE_MS;
  }

  async #do(job: Job): Promise<void> {
    const { log, ranges, signal } = this.#task;
    const { state } = job;
    const { at } = job.claim;
    try {
      await this.#fetch(job);
      state.succeeded();
    } catch (error) {
      if (isCacheError(error, 'storage') || isCacheError(error, 'aborted') || signal.aborted) {
        this.#fail(error);
        return;
      }
      state.delivered.delete(job.claim);
      state.failed(error, job.claim.at - at);
      const again = !isCacheError(error, 'refused') && (this.#task.hashKnown || state.recognisable);
      if (!again) state.out ??= error;
      log.warn(`${describe(error)}; ${state.out === undefined ? 'asking it again' : 'not asking it again'}`);
      if (this.#task.sources.allOut) this.#fail(error);
    } finally {
      state.workers--;
      state.delivered.delete(job.claim);
      this.#paces.delete(job.claim);
      ranges.release(job.claim);
    }
  }

  async #fetch({ state, claim, answer: given }: Job): Promise<void> {
    const { hashKnown, ranges, signal, size } = this.#task;
    const { label } = state.source;
    const toTheEnd = claim.end === Number.POSITIVE_INFINITY || state.answersRanges === false;
    const from = claim.at;
    // Where nobody knows the end it may be just here, and behind it there is nothing to ask for.
    const start = ranges.endless ? Math.max(from - 1, 0) : from;
    const part = { start, end: toTheEnd ? undefined : claim.end };
    const answer = given ?? (await state.source.ask(signal, part));
    if (answer === undefined) {
      throw new CacheError('not-found', `${label}: says that it has no such thing`);
    }
    // The first answer was asked for before there was a download that could end.
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
      // A first answer of the whole body says nothing: it was asked for that.
      if (answer.partial || given === undefined) state.answersRanges = answer.partial;
      this.#wake();
      await this.#write(state, claim, answer);
    } finally {
      signal.removeEventListener('abort', cut);
      answer.body.destroy();
    }
    if (claim.at >= claim.end) return;
    // Less than was asked for will do, if it is all that was announced and not so little that there would be no end of it.
    if (answer.partial && claim.at - from >= PROGRESS_BYTES && claim.at === answer.end) return;
    if (claim.end === Number.POSITIVE_INFINITY && !answer.partial) ranges.endsAt(claim.at);
    else throw new CacheError('upstream', `${label}: ended at byte ${claim.at}, expected ${claim.end}`);
  }

  /** Writes what of the answer is wanted: from a whole body also what is missing beyond the claim. */
  async #write(state: SourceState, claim: Claim, answer: Answer): Promise<void> {
    const { advanced, ranges, write } = this.#task;
    const meter = new Meter(state, (pace) => {
      this.#paces.set(claim, pace);
      // Those who have nothing to do looked before this was so.
      if (this.#needsHelp(claim, state)) this.#wake();
    });
    let at = answer.start;
    for await (const chunk of answer.body) {
      do {
        const wanted = chunk.subarray(Math.max(claim.at - at, 0), Math.max(claim.end - at, 0));
        if (wanted.length === 0) break;
        await write(wanted, claim.at);
        claim.at += wanted.length;
        state.given += wanted.length;
        state.delivered.set(claim, performance.now());
        advanced();
      } while (claim.at >= claim.end && !answer.partial && ranges.extend(claim));
      at += chunk.length;
      meter.note(chunk.length);
      // Somebody else took the rest. An answer that ends here anyway is read to its end, which keeps its connection.
      if (claim.at >= claim.end && at < (answer.end ?? Number.POSITIVE_INFINITY)) break;
      this.#leaveIfCrawling(state, meter);
    }
    meter.end();
  }

  #leaveIfCrawling(state: SourceState, { lately }: Meter): void {
    const other = this.#task.sources.paceBeside(state);
    // Several connections share one link, while the other may have been measured alone on it.
    if (other === undefined || lately === undefined || lately * state.workers > other * CRAWL) return;
    state.slow = true;
    throw new CacheError('upstream', `${state.source.label}: far slower than another source`);
  }
}
