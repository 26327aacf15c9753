// A download: a file that grows, the attempts to fill it with the right bytes, and what becomes of it in the end. Nothing ties it to
// its readers: they come and go, it goes on.
import { setMaxListeners } from 'node:events';
import type { Deadlines } from '../config/config.ts';
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { sha256ToHex } from '../nix/hash.ts';
import type { Scratch } from '../store/scratch.ts';
import { Attempts } from './attempts.ts';
import { type BeginningStore, GrowingBeginning, type TakenBeginning } from './beginnings.ts';
import type { Place } from './crowd.ts';
import type { Destination } from './destination.ts';
import type { Here } from './first-answer.ts';
import { Growing, type Held } from './growing.ts';
import type { Reputation } from './reputation.ts';
import type { Wanted } from './sources.ts';
import { canTell } from './verify.ts';

export interface DownloadOptions {
  /** In messages. */
  readonly path: string;
  /** Of the body, and who may supply it: the one that has answered first is among them. */
  readonly wanted: Wanted;
  readonly first: Here;
  readonly connections: number;
  /** See {@link Deadlines}. */
  readonly returnMs: Deadlines['returnMs'] | undefined;
  /** Where the body lies while it comes. */
  readonly scratch: BeginningStore & Pick<Scratch, 'spool'>;
  readonly destination: Destination;
  /** Told what sources show of themselves. */
  readonly reputation: Pick<Reputation, 'blame' | 'gave'>;
  /** Among the downloads that are under way. */
  readonly place: Place;
  readonly emit: Emit;
  readonly signal: AbortSignal;
}

/** What is left of a body that is rather had than given up. */
const SMALL_BYTES = 1 << 20;

export class Download {
  /** Bytes of the body; undefined if nobody told beforehand. */
  readonly size: number | undefined;
  /** Whether that was known beforehand. */
  readonly sure: boolean;
  /** In hexadecimal, if it was known beforehand. */
  readonly sha256: string | undefined;
  /** What it is packed in. */
  readonly coding: string | undefined;
  /** Resolves if the disk takes no more of it, so that it waits for its readers. */
  readonly passing: Promise<void>;
  /** Whether it is shown to nobody before it is known to be right: it is rather something else. */
  readonly isSuspect: boolean;
  /** What readers are told when it has failed. */
  failure: Error | undefined;
  /** Settles, and never rejects, when the last of it is done: everything kept, or given up. */
  readonly ended: Promise<void>;
  readonly #options: DownloadOptions;
  readonly #growing: Growing;
  readonly #beginning: GrowingBeginning;
  readonly #attempts: Attempts;
  /** Ends it: the service stops, or nobody reads it. */
  readonly #over = new AbortController();
  #isStopped = false;
  readonly #begunAt = performance.now();

  /** Takes over the first answer and `spool`, in which `length` bytes of the body are already. */
  constructor(options: DownloadOptions, { length, spool }: TakenBeginning) {
    const { connections, emit, first, path, place, wanted } = options;
    const { expected } = wanted;
    this.size = first.answer.size ?? expected.fileSize;
    this.coding = first.answer.coding;
    this.sure = expected.fileSize !== undefined;
    this.isSuspect = first.sized !== undefined;
    this.sha256 = expected.fileHash === undefined ? undefined : sha256ToHex(expected.fileHash);
    this.#options = options;
    let passes = () => {};
    this.passing = new Promise((resolve) => {
      passes = resolve;
    });
    this.#growing = new Growing(spool, {
      size: this.size,
      isJudged: canTell(expected) || expected.named !== undefined,
      onFull: (reason) => {
        emit({ kind: 'body-unkept', path, why: reason, passing: true });
        place.close();
        passes();
      },
      onAbandoned: () => place.abandoned(),
    });
    this.#beginning = new GrowingBeginning(options.scratch, path, this.#growing, expected);
    const { signal } = this.#over;
    setMaxListeners(0, signal);
    const written = (growing: Growing) => this.#written(growing);
    const { destination, reputation, returnMs, scratch } = options;
    this.#attempts = new Attempts({
      task: { path, size: this.size, expected, connections, written, emit, signal },
      growing: this.#growing,
      ...{ sources: wanted.sources, first, returnMs, destination, reputation },
      spool: () => scratch.spool(),
    });
    emit({ kind: 'download-begun', path, from: first.source.upstream.url, bytes: this.size });
    this.ended = this.#run(length).finally(() => this.#growing.done());
  }

  /** See {@link Growing.hold}. */
  hold(): Held | undefined {
    return this.#isStopped ? undefined : this.#growing.hold();
  }

  /**
   * Whether all of those it is being had from now are none of our kind. Then it waits for nobody who may be waiting for us,
   * and will not: it would be a new request that it sends to such a one.
   */
  get isFromOutside(): boolean {
    const sources = this.#attempts.busy;
    return sources.length > 0 && sources.every(({ upstream }) => upstream.instance === undefined);
  }

  /**
   * Ends it if nobody reads it; what has come is kept as a beginning, and whoever asks for it goes on from there. False if
   * somebody does read it, or is about to.
   */
  stop(why = 'nobody reads it, and others wait for its connections'): boolean {
    if (!this.#growing.isAbandoned) return false;
    this.#isStopped = true;
    const { path } = this.#options;
    this.#over.abort(new CacheError('aborted', `${path}: ${why}`));
    return true;
  }

  /** The same where the one who was expected to ask for it has gone quiet, unless it is as good as here. */
  quit(): void {
    const left = (this.size ?? 0) - this.#growing.front;
    if (left > SMALL_BYTES) this.stop('nobody has asked for it');
  }

  /** Once all of it is here, the upstream that most of it came from. */
  get origin(): string | undefined {
    return this.#attempts.origin;
  }

  /** Whether it passes through memory, and waits for its readers. */
  get isPassing(): boolean {
    return this.#growing.isPassing;
  }

  /** Whether whoever read it, or was about to, has left. */
  get isAbandoned(): boolean {
    return this.#growing.isAbandoned;
  }

  /** How long it has been going on. */
  get #ms(): number {
    return performance.now() - this.#begunAt;
  }

  async #run(start: number): Promise<void> {
    const { destination, emit, path, signal } = this.#options;
    const onAbort = () => this.#over.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    try {
      const result = await this.#attempts.run(start);
      if (result.kind !== 'right') return await this.#giveUp(result.error);
      const from = this.origin as string;
      emit({ kind: 'download-ended', path, from, bytes: result.arrived.size, ms: this.#ms });
      const file = await this.#growing.file();
      if (file === undefined) return;
      await this.#beginning.settled();
      await destination.keep(file, result.arrived, from).catch((error) => {
        emit({ kind: 'body-unkept', path, why: describe(error), passing: false });
      });
    } catch (error) {
      await this.#giveUp(error);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Tells readers, and keeps what has come for whoever asks next, unless it is wrong. */
  async #giveUp(error: unknown): Promise<void> {
    const { destination, emit, path, place } = this.#options;
    emit({ kind: 'download-failed', path, error, stopped: this.#isStopped, ms: this.#ms });
    if (isCacheError(error, 'invalid')) await destination.unfit();
    const isWrong = this.#attempts.verdict !== 'none';
    if (isWrong && this.#growing.shown > 0) destination.misled();
    place.end();
    this.failure = this.#failureOf(error);
    this.#growing.fail(this.failure);
    if (!isWrong) await this.#beginning.keep();
  }

  /** What readers are told. That somebody lacks it, or has it wrong, says nothing of the others. */
  #failureOf(error: unknown): Error {
    if (this.#attempts.verdict === 'proven wrong')
      return new CacheError('not-found', `${describe(error)}; no upstream has it right`, error);
    if (isCacheError(error, 'not-found') || isCacheError(error, 'invalid')) {
      return new CacheError('upstream', error.message, error);
    }
    return error instanceof Error ? error : new Error(String(error));
  }

  /** @throws CacheError `aborted` to end an attempt of which nobody could have anything */
  #written(growing: Growing): void {
    const isShown = growing === this.#growing;
    if (isShown) this.#beginning.note();
    if (growing.isPassing && (growing.isAbandoned || !isShown))
      throw new CacheError('aborted', `${this.#options.path}: nobody reads it, and it can't be kept`);
  }
}
