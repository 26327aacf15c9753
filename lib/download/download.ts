// A download: a file that grows, the workers who fill it, the verdict on it, and a second try elsewhere if the verdict is
// bad. Nothing ties it to its readers: they come and go, it goes on.
import { setMaxListeners } from 'node:events';
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Log } from '../log.ts';
import { sha256ToHex } from '../nix/hash.ts';
import type { Spool } from '../store/store.ts';
import type { Reader } from '../streams.ts';
import type { Answer } from '../upstream/answer.ts';
import type { Job } from './attempt.ts';
import { type BeginningStore, Beginnings } from './beginning.ts';
import { fetchAll } from './crew.ts';
import { Growing } from './growing.ts';
import { Ranges } from './ranges.ts';
import { type Source, type SourceState, Sources } from './sources.ts';
import { type Arrived, type Expected, type Filling, verify } from './verify.ts';

export interface DownloadOptions {
  /** In messages. */
  readonly path: string;
  readonly expected: Expected;
  /** Who may supply it, the one that has answered first among them. */
  readonly sources: readonly Source[];
  readonly first: { readonly source: Source; readonly answer: Answer };
  readonly connections: number;
  readonly spool: () => Spool;
  readonly log: Log;
  /** Told what the disk refused; every download may be, for the same reason. */
  readonly warnDisk: (message: string) => void;
  readonly signal: AbortSignal;
  /** Gets the finished body; readers do not wait for it. The spool is closed afterwards. */
  readonly keep: (spool: Spool, arrived: Arrived, origin: string) => Promise<void>;
  readonly beginnings: BeginningStore;
  /** Told when the disk takes no more: nobody can join from then on. */
  readonly passing: () => void;
  /** Told who sent wrong bytes. */
  readonly blame: (source: Source) => void;
  /** Told who sent bytes of a body that broke off. */
  readonly gave: (source: Source) => void;
  /** Told that nobody had what was expected. */
  readonly unfit: () => Promise<void>;
}

export class Download {
  /** Bytes of the body; undefined if nobody told beforehand. */
  readonly size: number | undefined;
  /** Whether that was known beforehand. */
  readonly sure: boolean;
  /** In hexadecimal, if it was known beforehand. */
  readonly sha256: string | undefined;
  /** What it is packed in. */
  readonly coding: string | undefined;
  /** Settles, and never rejects, when the last of it is done: everything kept, or given up. */
  readonly ended: Promise<void>;
  readonly #options: DownloadOptions;
  readonly #growing: Growing;
  readonly #begun: number;
  readonly #beginnings: Beginnings;
  /** Of the attempt that is being made. */
  #sources: Sources | undefined;
  /** Whether what has come is known to be wrong. */
  #isWrong = false;

  /** Takes over the first answer and `spool`, which has `begun` bytes of the body in it already. */
  constructor(options: DownloadOptions, spool: Spool, begun = 0) {
    const { expected, first } = options;
    this.size = first.answer.size ?? expected.fileSize;
    this.coding = first.answer.coding;
    this.sure = expected.fileSize !== undefined;
    this.sha256 = expected.fileHash === undefined ? undefined : sha256ToHex(expected.fileHash);
    this.#options = options;
    this.#begun = begun;
    this.#growing = new Growing(spool, this.size, (reason) => {
      options.warnDisk(`${options.path} is passed on without being kept: ${reason}`);
      options.passing();
    });
    this.#beginnings = new Beginnings(options.beginnings, this.#growing, {
      ...{ path: options.path, size: this.size, sha256: this.sha256 },
    });
    this.ended = this.#run().finally(() => this.#growing.leave());
  }

  /** See {@link Growing.hold}. */
  hold(): boolean {
    return this.#growing.hold();
  }

  release(): void {
    this.#growing.release();
  }

  /** See {@link Growing.reader}. */
  reader(start: number, end: number | undefined): Reader {
    return this.#growing.reader(start, end);
  }

  /**
   * Whether all of those it is being had from now are none of our kind. Then it waits for nobody who may be waiting for us,
   * and will not: it would be a new request that it sends to such a one.
   */
  get isFromOutside(): boolean {
    const busy = this.#sources?.all.filter(({ workers }) => workers > 0).map(({ source }) => source);
    const sources = busy ?? [this.#options.first.source];
    return sources.length > 0 && sources.every(({ upstream }) => upstream.instance === undefined);
  }

  async #run(): Promise<void> {
    const { keep, log, path, warnDisk } = this.#options;
    try {
      const { arrived, origin } = await this.#fetch();
      this.#growing.complete();
      const file = await this.#growing.file();
      if (file === undefined) return;
      await this.#beginnings.settled();
      await keep(file, arrived, origin).catch((error) => {
        warnDisk(`${path} was not kept: ${describe(error)}`);
      });
    } catch (error) {
      log.warn(`${path} could not be had: ${describe(error)}`);
      if (isCacheError(error, 'invalid')) await this.#options.unfit();
      if (this.#options.signal.aborted && !this.#isWrong) await this.#beginnings.keep();
      this.#growing.fail(failureOf(error));
    }
  }

  async #fetch(): Promise<{ arrived: Arrived; origin: string }> {
    const { first, sources: all } = this.#options;
    // Answers of several sources may be joined only if a hash will tell whether they are of one file.
    const sources = new Sources(this.#hashKnown ? all : [first.source]);
    const state = sources.all.find(({ source }) => source === first.source);
    try {
      const beginning = state && { state, answer: first.answer };
      const arrived = await this.#attempt(this.#growing, sources, beginning, this.#begun);
      if (arrived.proof === 'unproven') return await this.#fetchProof(sources, arrived);
      return { arrived, origin: mostOf(sources).upstream.url };
    } catch (error) {
      if (!isCacheError(error, 'invalid')) {
        for (const { given, source } of sources.all) if (given > 0) this.#options.gave(source);
      }
      // What has passed through memory is gone, so nobody could say what its readers have seen.
      if (!isCacheError(error) || !this.#isReasonToLeave(error) || this.#growing.isPassing) throw error;
      return await this.#fetchElsewhere(sources, error);
    }
  }

  /** Whether others may have it though those it was fetched from could not give it. */
  #isReasonToLeave({ code }: CacheError): boolean {
    if (code === 'invalid') return true;
    // With a hash all of them have been asked for the rest.
    return !this.#hashKnown && ['upstream', 'refused', 'timeout', 'proxy', 'not-found'].includes(code);
  }

  get #hashKnown(): boolean {
    const { fileHash, named } = this.#options.expected;
    return fileHash !== undefined || named !== undefined;
  }

  async #attempt(
    growing: Growing,
    sources: Sources,
    first?: { readonly state: SourceState; readonly answer: Answer },
    begun = 0,
  ): Promise<Arrived> {
    const { connections, expected, log, path, signal } = this.#options;
    this.#sources = sources;
    const ranges = new Ranges(this.size ?? Number.POSITIVE_INFINITY, begun);
    growing.advance(begun);
    const claim =
      first &&
      ranges.claim(first.answer.partial ? (first.answer.end ?? 0) - begun : Number.POSITIVE_INFINITY);
    const job: Job | undefined = first && claim && { ...first, claim };
    if (job === undefined) first?.answer.body.destroy();
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    stop.signal.addEventListener('abort', () => growing.stop());
    const onAbort = () => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    const filling: Filling = { state: 'running' };
    const end = (state: Filling['state']) => {
      filling.state = state;
      growing.wake();
    };
    const task = {
      ...{
        ranges,
        sources,
        connections,
        log,
        size: this.size,
        hashKnown: this.#hashKnown,
        signal: stop.signal,
      },
      write: async (chunk: Buffer, at: number) => {
        await growing.write(chunk, at);
        if (growing === this.#growing) this.#beginnings.note();
        if (growing.isPassing && (growing.isAbandoned || growing !== this.#growing)) {
          throw new CacheError('aborted', `${path}: nobody reads it, and it can't be kept`);
        }
      },
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
      // It is the verdict that ended the fetching, unless it was the other way round.
      const reason = await verdict.then(
        () => error,
        (bad) => bad,
      );
      throw isCacheError(reason, 'invalid') ? reason : error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    return verdict;
  }

  /**
   * What was joined from `sources` is wrong, and nobody can say which part of it; or it broke off, and nobody could say
   * if another's rest belongs to it. The others may have it right, each on its own; readers who have seen nothing that
   * differs from that go on with it.
   */
  async #fetchElsewhere(sources: Sources, error: CacheError): Promise<{ arrived: Arrived; origin: string }> {
    const { blame, sources: all } = this.#options;
    const isWrong = error.code === 'invalid';
    this.#isWrong = isWrong;
    const givers = sources.all.filter(({ given }) => given > 0 || !isWrong).map(({ source }) => source);
    // A single giver is to blame, unless the beginning was here already.
    const isClear = givers.length === 1 && this.#begun === 0;
    if (isWrong && isClear) blame(givers[0] as Source);
    const others = all.filter((source) => !givers.includes(source));
    // What has only broken off may come as a whole the next time.
    const again = isClear && isWrong ? [] : givers;
    const found = await this.#fetchAlone([...others, ...again], error.message, () => true);
    if (found === undefined) throw error;
    return found;
  }

  /** What nobody here can judge, another source may have in a form that can be judged; else it is passed on as it is. */
  async #fetchProof(sources: Sources, arrived: Arrived): Promise<{ arrived: Arrived; origin: string }> {
    const { blame, path, sources: all } = this.#options;
    const given = mostOf(sources);
    const why = `${path}: nobody can tell whether it is what its name says`;
    if (!this.#growing.isPassing) {
      const others = all.filter((source) => source !== given);
      const found = await this.#fetchAlone(others, why, ({ proof }) => proof !== 'unproven');
      if (found !== undefined) {
        if (sources.isOfOneFile) blame(given);
        return found;
      }
    }
    if (this.#begun === 0 && sources.isOfOneFile) return { arrived, origin: given.upstream.url };
    throw new CacheError('invalid', `${why}, and it was joined from several answers`);
  }

  /** The first of them that has all of it, so that it `fits`; undefined if none has. */
  async #fetchAlone(
    from: readonly Source[],
    why: string,
    fits: (arrived: Arrived) => boolean,
  ): Promise<{ arrived: Arrived; origin: string } | undefined> {
    const { blame, log, path } = this.#options;
    for (const source of from) {
      log.warn(`${why}; trying ${source.label}`);
      const spool = this.#options.spool();
      const growing = new Growing(spool, this.size, () => {});
      try {
        const sources = new Sources([source]);
        const arrived = await this.#attempt(growing, sources);
        if ((await growing.file()) === undefined)
          throw new CacheError('storage', `${path}: the disk is full`);
        if (!fits(arrived) || !(arrived.proof !== 'unproven' || sources.isOfOneFile))
          throw new CacheError('upstream', 'nobody can tell whether it is right');
        await this.#growing.replace(spool, arrived.size);
        return { arrived, origin: source.upstream.url };
      } catch (failure) {
        await spool.close();
        if (isCacheError(failure, 'aborted') || isCacheError(failure, 'storage')) throw failure;
        if (isCacheError(failure, 'invalid')) blame(source);
        log.warn(`${path}: not from ${source.label} either: ${describe(failure)}`);
      }
    }
    return undefined;
  }
}

/** What readers are told. Somebody had it, so that another lacks it does not mean that it is missing. */
function failureOf(error: unknown): Error {
  if (isCacheError(error, 'not-found')) return new CacheError('upstream', error.message, error);
  return error instanceof Error ? error : new Error(String(error));
}

/** The one that supplied most of it. */
function mostOf(sources: Sources): Source {
  const [most] = [...sources.all].sort((a, b) => b.given - a.given);
  return (most as SourceState).source;
}
