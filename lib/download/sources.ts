// The places that may supply one body, and what each has shown of itself during this download.
import { type CacheError, isCacheError } from '../errors.ts';
import type { Answer, Part } from '../upstream/answer.ts';
import type { Need, Upstream } from '../upstream/upstream.ts';
import { Identity } from './identity.ts';
import type { Claim } from './ranges.ts';
import type { Expected } from './verify.ts';
import { Wholes } from './wholes.ts';

/** One place that may have the body. */
export interface Source {
  /** Its URL, for messages. */
  readonly label: string;
  readonly upstream: Upstream;
  /** Where it is, if that is known: it may be another origin than the upstream's. */
  readonly at?: URL;
  /** Whether it is known to have had it: then what it can't be asked for is not missing. */
  readonly certain: boolean;
  /**
   * Set where nobody has said that it has it under this name: then what it answers instead says nothing. `settled` by what
   * its own narinfo says, which is asked for later; or there is none to ask, and the name stands `alone`.
   */
  readonly guess?: 'settled' | 'alone' | undefined;
  /** All of it, or a part. Undefined if it has no such thing. */
  ask(signal: AbortSignal, part?: Part, need?: Need): Promise<Answer | undefined>;
}

/** A body that is not here: what is known of it, and who may have it. */
export interface Wanted {
  readonly sources: readonly Source[];
  readonly expected: Expected;
}

/** Requests in a row without real progress after which a source is given up, if it has given nothing yet, or answers. */
const MAX_FAILURES = 6;
/** So many of these is one that has had all its time and did not even begin: five more such waits are too long for a reader. */
const SILENCE = 2;
/** The same while it delivers to others: it may not take so many at once, and is not to be given up for that. */
const MAX_REFUSALS = 50;
/** Whoever has had nothing for so long may be waiting for what this source fails to send. */
const DELIVERING_MS = 5000;
/** Fewer bytes than these are no real progress: a source may break off after every one. */
export const PROGRESS_BYTES = 64 * 1024;
/** Bytes per millisecond that may be expected of whoever was never measured: it is asked when all that comes is a trickle. */
const UNKNOWN_PACE = 10;
/** The first repetition comes at once; then these, doubled each time. */
const BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 2000;
/**
 * How long a source that has given bytes may be away, or say that it has no such thing. A router says so while its own upstream
 * is away, up to twelve seconds longer, and so does a server whose path was deleted and is put back; a restart takes seconds.
 */
const RETURN_MS = 15_000;
/** The part of that after which whoever does not answer to parts is asked for the whole, as it may take parts for an attack. */
const LAST_RESORT = 0.8;

/** One request to a source, from when it is clear that it will be asked until all has come or nothing more does. */
export interface RangeRequest {
  /** Which of all that were made of this source. */
  readonly number: number;
  /** Whether it asks for the whole, though a part is wanted. */
  readonly whole: boolean;
  /** Whether the source has begun to give something. */
  answered: boolean;
}

export class SourceState {
  readonly source: Source;
  /** Of the file that it gives. */
  readonly identity: Identity;
  /** Whether it answers ranges; undefined until it was asked for one. Until then, and if not, one worker is enough. */
  answersRanges: boolean | undefined;
  /** Far slower than another: only if nobody else can. */
  slow = false;
  workers = 0;
  /** When it last sent bytes for the claims it is at work for. */
  readonly delivered = new Map<Claim, number>();
  /** Bytes it has supplied. */
  given = 0;
  /** Whether some of them came coded in transfer. */
  wasCoded = false;
  /** When whoever has had nothing of it may ask it again, by the steady clock. */
  notBefore = 0;
  /** In a row; those of requests that were under way together are one. */
  failures = 0;
  /** Why it is not asked again in this download. */
  out: unknown;
  /** Since when, in a row, it says that it has no such thing, or can't be asked. */
  #awaySince: number | undefined;
  readonly #returnMs: number;
  #requests = 0;
  #begunAt = 0;
  /** The last request that had begun when the last failure was counted. */
  #counted = 0;
  /** Failures for which its pauses have grown. */
  #pauses = 0;
  readonly #wholes = new Wholes();

  constructor(source: Source, returnMs = RETURN_MS) {
    this.source = source;
    this.identity = new Identity(source.label);
    this.#returnMs = returnMs;
  }

  /** Whether one more worker can be of use to it. */
  get free(): boolean {
    if (this.workers === 0) return true;
    // At a full disk, workers for parts may wait for bytes that only the whole will bring.
    if (this.#wholes.state === 'wanted')
      return !this.isDelivering && performance.now() - this.#begunAt > DELIVERING_MS;
    return this.answersRanges === true && this.#wholes.state !== 'asked';
  }

  /**
   * Notes an answer that is to continue, or begin, the body of `size` bytes.
   * @throws CacheError `upstream` if it is of another file, or may be
   */
  accept(answer: Answer, size: number | undefined, hashKnown: boolean): void {
    const problem = this.identity.take(answer, size, hashKnown);
    if (problem?.isFinal) this.out = problem.error;
    if (problem !== undefined) throw problem.error;
    this.#awaySince = undefined;
  }

  /** Whether it is to be asked for the whole, because nothing comes of parts. */
  get asksWhole(): boolean {
    return this.#wholes.isNext;
  }

  begin(): RangeRequest {
    const whole = this.#wholes.begin();
    this.#begunAt = performance.now();
    return { number: ++this.#requests, whole, answered: false };
  }

  /** A request that brought `bytes` has failed. Whether that is news, and not the same failure that others had with it. */
  failed(error: unknown, bytes: number, { number, whole, answered }: RangeRequest): boolean {
    const isNews = number > this.#counted;
    if (isCacheError(error, 'not-found')) {
      this.#counted = this.#requests;
      this.#absent(error);
      return isNews;
    }
    const awayMs = answered ? 0 : this.#awayMs;
    const brought = bytes >= PROGRESS_BYTES;
    if (brought) this.failures = Math.min(this.failures, 1);
    if (whole) this.#wholes.broke(answered);
    // Another cache of this kind gives parts in the order in which it gets them: parts ahead wait, which is no failure.
    else if (answered && !this.isDelivering) this.#wholes.partBroke(bytes);
    // Requests that were under way when the source failed for others count as the same failure.
    if (isNews) {
      this.#counted = this.#requests;
      this.#pauses = brought ? 1 : this.#pauses + 1;
      const isSilence = !answered && isCacheError(error, 'timeout');
      this.failures = brought ? 1 : this.failures + (isSilence ? SILENCE : 1);
      const most = this.isDelivering ? MAX_REFUSALS : MAX_FAILURES;
      const mayReturn = this.identity.isSeen && !answered && awayMs < this.#returnMs;
      if (this.failures >= most && !mayReturn) this.out ??= error;
      const waitMs = this.#pauses < 2 ? 0 : BACKOFF_MS * 2 ** (this.#pauses - 2);
      this.notBefore = performance.now() + Math.min(waitMs, MAX_BACKOFF_MS);
    }
    // A source that gives parts, or may, and is only away is not asked for bytes that are here, unless nothing else is left.
    const isLast = this.answersRanges !== true && awayMs >= this.#returnMs * LAST_RESORT;
    const isAway = !answered && (this.answersRanges === true || this.identity.isSeen) && !isLast;
    this.#wholes.consider(this.failures >= MAX_FAILURES - 1 && !isAway);
    return isNews;
  }

  /** What has given bytes does have it: it is asked again, after waits that grow, as long as that may pass. */
  #absent(error: CacheError): void {
    const awayMs = this.#awayMs;
    if (!this.identity.isSeen || awayMs >= this.#returnMs) this.out ??= error;
    this.failures = Math.max(this.failures, 1);
    this.notBefore = performance.now() + Math.min(Math.max(awayMs, BACKOFF_MS), MAX_BACKOFF_MS);
  }

  get #awayMs(): number {
    const now = performance.now();
    this.#awaySince ??= now;
    return now - this.#awaySince;
  }

  /** Whether somebody has lately had bytes of it. */
  get isDelivering(): boolean {
    const lately = performance.now() - DELIVERING_MS;
    return [...this.delivered.values()].some((at) => at > lately);
  }

  succeeded({ number, whole }: RangeRequest): void {
    this.#wholes.succeeded(whole, this.answersRanges === true, this.source.upstream.parts);
    this.failures = 0;
    // A request that began before the source failed for others proves nothing about it now.
    if (number <= this.#counted) return;
    this.#pauses = 0;
    this.notBefore = 0;
  }
}

export class Sources {
  readonly all: SourceState[];

  /** `returnMs`: how long one that has given bytes may be away, if not as long as usual. */
  constructor(sources: readonly Source[], returnMs?: number) {
    this.all = sources.map((source) => new SourceState(source, returnMs));
  }

  /** The one to ask next, if it has use for one more: in order, but behind the others what fails or crawls. */
  pick(): SourceState | undefined {
    const rank = (state: SourceState) => state.failures + (state.slow ? MAX_FAILURES : 0);
    const best = this.all.filter((state) => state.out === undefined).sort((a, b) => rank(a) - rank(b))[0];
    return best?.free ? best : undefined;
  }

  /** Whether everything came from one source, which has not changed meanwhile. */
  get isOfOneFile(): boolean {
    const givers = this.all.filter(({ given }) => given > 0);
    return givers.length <= 1 && givers.every(({ identity }) => identity.isSteady);
  }

  get allOut(): boolean {
    return this.all.every((state) => state.out !== undefined);
  }

  /** The best pace of the others that could take over, if any. */
  paceBeside(state: SourceState): number | undefined {
    const paces = this.all
      .filter((other) => other !== state && other.out === undefined && !other.slow && other.failures === 0)
      .map((other) => other.source.upstream.pace.bytesPerMs ?? UNKNOWN_PACE);
    return paces.length === 0 ? undefined : Math.max(...paces);
  }
}
