// The workers of a download. Each takes the next missing range to the best source and writes what comes at its offset.
// One that fails puts the rest back, and whoever is next takes it elsewhere: resume, failover and parallel connections
// are this one rule.
import { CacheError, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { Changes } from '../sync/changes.ts';
import { MIN_RANGE, RANGE_MS, rangeLength } from './range-length.ts';
import { getRange, type Job, type Task } from './range-request.ts';
import type { Claim } from './ranges.ts';
import type { RangeRequest, Source, SourceState } from './sources.ts';

export interface CrewTask extends Task {
  readonly connections: number;
  readonly emit: Emit;
  /** Ends what the other workers are doing. */
  abort(reason: unknown): void;
}

/**
 * Gets every missing range, beginning with `first` if there is such a beginning.
 * @throws CacheError of the last source that failed, when none is left; or `storage`, or `aborted`
 */
export async function fetchAll(task: CrewTask, first: Job | undefined): Promise<void> {
  const crew = new Crew(task);
  await crew.run(first);
}

/** How often those who have nothing to do look whether others are stuck, which nobody tells. */
const LOOK_MS = 1000;

type Assigned = Job & { readonly request: RangeRequest };

class Crew {
  readonly #task: CrewTask;
  readonly #paces = new Map<Claim, number>();
  /** Those of which that was said. */
  readonly #ordered = new Set<Source>();
  #busy = 0;
  #failure: unknown;
  /** Of what there is to do, and of who does it. */
  readonly #changes = new Changes();

  constructor(task: CrewTask) {
    this.#task = task;
  }

  async run(first: Job | undefined): Promise<void> {
    const { connections, ranges, signal } = this.#task;
    const onAbort = () => this.#fail(signal.reason);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    // The first worker starts before the others, which would find nobody busy and stop.
    const lead = this.#work(first && this.#begin(first));
    await Promise.all([lead, ...Array.from({ length: connections - 1 }, () => this.#work())]);
    signal.removeEventListener('abort', onAbort);
    if (this.#failure !== undefined) throw this.#failure;
    if (!ranges.complete) throw new CacheError('upstream', 'no source is left');
  }

  async #work(first?: Assigned): Promise<void> {
    for (let job = first ?? (await this.#nextJob()); job !== undefined; ) {
      const succeeded = await this.#do(job);
      this.#busy--;
      this.#changes.tell();
      job = await this.#nextJob(succeeded ? job.state : undefined);
    }
  }

  /** At once when it is clear what to do: others look for work before its owner has come to it. */
  #begin(job: Job): Assigned {
    this.#busy++;
    job.state.workers++;
    return { ...job, request: job.state.begin() };
  }

  /** Waits until there is something to do; undefined when there will be nothing more. `good` has just given what it should. */
  async #nextJob(good?: SourceState): Promise<Assigned | undefined> {
    const { ranges, sources } = this.#task;
    while (this.#failure === undefined && !ranges.complete) {
      const state = sources.pick();
      // A worker whose source has just delivered goes on at once; others wait until a source that takes few connections may be asked again.
      const waitMs = state === good ? 0 : (state?.notBefore ?? 0) - performance.now();
      if (state !== undefined && waitMs <= 0) {
        const claim = ranges.claim(this.#length(state)) ?? ranges.split((one) => this.#needsHelp(one, state));
        if (claim !== undefined) return this.#begin({ state, claim });
      }
      if (this.#busy === 0 && (state === undefined || ranges.unclaimed === 0)) return undefined;
      // The other workers may be busy for long, or wait for this one.
      await this.#changes.next({ ms: waitMs > 0 ? waitMs : LOOK_MS });
    }
    return undefined;
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#task.abort(error);
    this.#changes.tell();
  }

  #length(state: SourceState): number {
    const { hashKnown } = this.#task;
    // Without a hash, all answers must be of one file; only the first answer can show that.
    const joins = hashKnown || state.identity.isTold;
    if (state.answersRanges === false || state.asksWhole || !joins) return Number.POSITIVE_INFINITY;
    const { bytesPerMs } = state.source.upstream.pace;
    return rangeLength(bytesPerMs, this.#task.ranges.unclaimed, this.#task.connections);
  }

  /** Whether the owner of the claim will still be busy with it when half of it could long have been had elsewhere. */
  #needsHelp(claim: Claim, helper: SourceState): boolean {
    const left = claim.end - claim.at;
    const pace = this.#paces.get(claim);
    return helper.answersRanges === true && pace !== undefined && left > MIN_RANGE && left / pace > RANGE_MS;
  }

  /** Whoever gives parts in the order in which it gets them itself lets those ahead wait: nothing is wrong with it. */
  #inOrder({ source }: SourceState): void {
    if (this.#ordered.has(source)) return;
    this.#ordered.add(source);
    this.#task.emit({ kind: 'parts-in-order', source: source.label });
  }

  /** Whether it succeeded. Never rejects. */
  async #do(job: Assigned): Promise<boolean> {
    const { emit, hashKnown, ranges, signal, sources } = this.#task;
    const { claim, request, state } = job;
    const { at } = claim;
    const pace = (bytesPerMs: number) => {
      this.#paces.set(claim, bytesPerMs);
      // Idle workers looked before this claim became slow: wake them to split it.
      if (this.#needsHelp(claim, state)) this.#changes.tell();
    };
    try {
      await getRange(this.#task, job, request, { answered: () => this.#changes.tell(), pace });
      state.succeeded(request);
      return true;
    } catch (error) {
      if (isCacheError(error, 'storage') || isCacheError(error, 'aborted') || signal.aborted) {
        this.#fail(error);
        return false;
      }
      state.delivered.delete(claim);
      const waited = isCacheError(error, 'timeout') && request.answered && claim.at === at;
      const wasOut = state.out !== undefined;
      const isNews = state.failed(error, claim.at - at, request);
      if (isCacheError(error, 'refused') || !(hashKnown || state.identity.mayGoOn)) state.out ??= error;
      const isOut = state.out !== undefined;
      if (!isOut && waited && state.isDelivering) this.#inOrder(state);
      else if (isNews || isOut !== wasOut) {
        emit({ kind: 'part-failed', error, again: !isOut });
      }
      if (sources.allOut) this.#fail(error);
      return false;
    } finally {
      state.workers--;
      state.delivered.delete(claim);
      this.#paces.delete(claim);
      ranges.release(claim);
    }
  }
}
