// One try to get a body: workers fill a growing file from some sources while the verdict follows its front. It comes to one of three
// things: what has come is right, it is wrong, or it has broken off. A bad verdict ends the workers; when they end early, there is no
// verdict.
import { setMaxListeners } from 'node:events';
import { CacheError, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { fetchAll } from './crew.ts';
import type { Here } from './first-answer.ts';
import type { Growing } from './growing.ts';
import { mayBeInOne, readInOne } from './in-one.ts';
import type { Job } from './range-request.ts';
import { Ranges } from './ranges.ts';
import { type Source, type SourceState, Sources } from './sources.ts';
import { type Arrived, canTell, type Expected, Inquiry, verify } from './verify.ts';

/** What all attempts at a body have in common. */
export interface AttemptTask {
  /** In messages. */
  readonly path: string;
  /** Undefined if nobody told beforehand. */
  readonly size: number | undefined;
  readonly expected: Expected;
  readonly connections: number;
  /** Called when bytes have been written. Throws to end the attempt. */
  readonly written: (growing: Growing) => void;
  readonly emit: Emit;
  readonly signal: AbortSignal;
}

/** How sources are asked. */
interface Manner {
  /** How long one that has given bytes may be away, if not as long as usual. */
  readonly returnMs: number | undefined;
  /** Whether all of it is to come in one answer, so that it is of one file. */
  readonly whole?: boolean;
}

export type Result = { readonly kind: 'right'; readonly arrived: Arrived } | Failed;

export type Failed =
  | { readonly kind: 'wrong'; readonly error: CacheError }
  /** The error is that of the last source that failed, `storage` or `aborted`. */
  | { readonly kind: 'broken'; readonly error: unknown };

export class Attempt {
  readonly growing: Growing;
  readonly #sources: Sources;
  readonly #task: AttemptTask;
  /** How much of the body was here before. */
  #from = 0;

  constructor(
    growing: Growing,
    sources: readonly Source[],
    task: AttemptTask,
    { returnMs, whole = false }: Manner,
  ) {
    this.growing = growing;
    this.#sources = new Sources(sources, returnMs);
    this.#task = task;
    if (whole) for (const state of this.#sources.all) state.answersRanges = false;
  }

  /** `first`: what one of the sources has answered already. `from`: where what is in the file already ends. Never rejects. */
  async run(first?: Here, from = 0): Promise<Result> {
    const { growing } = this;
    const { connections, emit, expected, path, signal, size } = this.#task;
    this.#from = from;
    if (first !== undefined && from === 0 && this.#mayBeInOne(first)) {
      const came = await this.#inOne(first);
      if ('kind' in came) return came;
      first = came;
    }
    const ranges = new Ranges(size ?? Number.POSITIVE_INFINITY, from);
    growing.advance(from);
    const job = this.#jobOf(first, ranges);
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    stop.signal.addEventListener('abort', () => growing.stop());
    const onAbort = () => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    const hashKnown = canTell(expected) || expected.named !== undefined;
    const task = {
      ...{ ranges, sources: this.#sources, connections, emit, size, hashKnown, signal: stop.signal },
      write: async (chunk: Buffer, at: number) => {
        await growing.write(chunk, at);
        this.#task.written(growing);
      },
      said: expected.said ?? 0,
      isAll: () => inquiry.ask(stop.signal),
      advanced: () => growing.advance(ranges.front),
      abort: (reason: unknown) => stop.abort(reason),
    };
    const inquiry = new Inquiry(growing);
    const verdict = verify(growing, expected, path, inquiry);
    // A bad verdict may come early; then nobody waits for the rest.
    verdict.catch((error) => stop.abort(error));
    try {
      await fetchAll(task, job);
      growing.advance(ranges.front);
      growing.end('filled');
    } catch (error) {
      if (growing.state.kind === 'growing') growing.end('broken');
      const bad = await verdict.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      // What the verdict says has ended the fetching, or comes after it.
      return isCacheError(bad, 'invalid') ? { kind: 'wrong', error: bad } : { kind: 'broken', error };
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    return await verdict.then(
      (arrived) => ({ kind: 'right', arrived }) as const,
      (error: unknown) => this.#judged(error, ranges.front),
    );
  }

  #mayBeInOne({ answer }: Here): boolean {
    const { coding, partial, size } = answer;
    const { expected, size: wanted } = this.#task;
    return mayBeInOne(expected) && !partial && coding === undefined && (size ?? wanted) === wanted;
  }

  /** The result, if what has been answered is all of it, and right; else what has been answered, as it was. */
  async #inOne(first: Here): Promise<Result | Here> {
    const { growing } = this;
    const { expected, path, signal, size, written } = this.#task;
    const state = this.#sources.all.find(({ source }) => source === first.source);
    if (state === undefined) return first;
    state.workers++;
    const came = await readInOne(first.answer, expected, path, signal);
    state.workers--;
    if (came.kind === 'other') return { ...first, answer: came.answer };
    const { arrived, body } = came;
    try {
      state.accept(first.answer, size, true);
      state.given = body.length;
      if (first.answer.undone !== undefined) state.wasCoded = true;
      await growing.write(body, 0);
      written(growing);
      growing.advance(body.length);
      growing.end('filled');
      return { kind: 'right', arrived };
    } catch (error) {
      growing.end('broken');
      return { kind: 'broken', error };
    }
  }

  /** What the verdict on a file that has been filled up to `end` comes to if it is not right. */
  #judged(error: unknown, end: number): Failed {
    if (!isCacheError(error, 'invalid')) return { kind: 'broken', error };
    const { expected, path } = this.#task;
    // Without a FileHash, it shows only now that a body of unknown length was cut.
    const { fileHash, said = 0 } = expected;
    if (end >= said || fileHash !== undefined) return { kind: 'wrong', error };
    const cut = new CacheError('upstream', `${path}: ended at byte ${end}, expected ${said}`, error);
    return { kind: 'broken', error: cut };
  }

  /** The rest of what has been answered; undefined if nobody wants that. */
  #jobOf(first: Here | undefined, ranges: Ranges): Job | undefined {
    const state = this.#sources.all.find(({ source }) => source === first?.source);
    const { partial = false, end = 0 } = first?.answer ?? {};
    const claim = state && ranges.claim(partial ? end - this.#from : Number.POSITIVE_INFINITY);
    if (state !== undefined && claim !== undefined && first !== undefined)
      return { state, claim, answer: first.answer };
    first?.answer.body.destroy();
    return undefined;
  }

  /** All that are asked. */
  get sources(): Source[] {
    return this.#sources.all.map(({ source }) => source);
  }

  /** Those that it is being had from now. */
  get busy(): Source[] {
    return this.#sources.all.filter(({ workers }) => workers > 0).map(({ source }) => source);
  }

  /** Those that gave bytes of it. */
  get givers(): Source[] {
    return this.#sources.all.filter(({ given }) => given > 0).map(({ source }) => source);
  }

  /** The one that gave most of it. */
  get main(): Source {
    const [most] = [...this.#sources.all].sort((a, b) => b.given - a.given);
    return (most as SourceState).source;
  }

  /** Whether some of it came coded in transfer. */
  get wasCoded(): boolean {
    return this.#sources.all.some(({ wasCoded }) => wasCoded);
  }

  /** All of it came within `ms`: says so to its source, if it was the only one and gave it in parts over several connections. */
  noteParts(ms: number): void {
    const [only, ...others] = this.#sources.all.filter(({ given }) => given > 0);
    const { connections } = this.#task;
    if (only === undefined || others.length > 0 || only.wasCoded || only.answersRanges !== true) return;
    if (connections > 1) only.source.upstream.coding.noteParts(only.given, ms);
  }

  /** Whether every byte is of one file of one source. */
  get isOfOneFile(): boolean {
    return this.#from === 0 && this.#sources.isOfOneFile;
  }

  /** Who is to blame if it is wrong: the only one that gave bytes, unless those may be of two files. */
  get culprit(): Source | undefined {
    return this.isOfOneFile ? this.givers[0] : undefined;
  }

  /** Whether the sources have said all that they have to say, though it broke off: they lack the file, have another, or were only guessed. */
  isAnswered(error: unknown): boolean {
    return (
      isCacheError(error, 'not-found') ||
      this.#sources.all.every((one) => one.identity.isOther || one.source.guess === 'settled')
    );
  }
}
