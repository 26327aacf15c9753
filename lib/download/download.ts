// A download: a file that grows, the workers who fill it, the verdict on it, and a second try elsewhere if the verdict is
// bad. Nothing ties it to its readers: they come and go, it goes on.
import { setMaxListeners } from 'node:events';
import type { Reader } from '../bytes/streams.ts';
import type { Deadlines } from '../config/config.ts';
import { CacheError, describe, isCacheError } from '../errors.ts';
import { sha256ToHex } from '../nix/hash.ts';
import type { Spool } from '../store/scratch.ts';
import type { Answer } from '../upstream/answer.ts';
import { fill } from './attempt.ts';
import { Beginnings } from './beginning.ts';
import type { DownloadOptions } from './download-options.ts';
import { Growing } from './growing.ts';
import { type Source, type SourceState, Sources } from './sources.ts';
import { type Arrived, canTell } from './verify.ts';

/** See {@link Deadlines}: how long one that is away is waited for while others can't go on, but have all of it perhaps. */
const BESIDE_OTHERS_MS = 3000;

/** What has come, and from whom. */
interface Had {
  readonly arrived: Arrived;
  readonly origin: string;
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
  /** Resolves if the disk takes no more of it, so that it waits for its readers. */
  readonly passing: Promise<void>;
  /** Whether it is shown to nobody before it is known to be right: it is rather something else. */
  readonly isSuspect: boolean;
  /** Once all of it is here, the upstream that most of it came from. */
  origin: string | undefined;
  /** What readers are told when it has failed. */
  failure: Error | undefined;
  /** Settles, and never rejects, when the last of it is done: everything kept, or given up. */
  readonly ended: Promise<void>;
  readonly #options: DownloadOptions;
  readonly #growing: Growing;
  readonly #begun: number;
  readonly #beginnings: Beginnings;
  /** Of the attempt that is being made. */
  #sources: Sources | undefined;
  /** Ends it: the service stops, or nobody reads it. */
  readonly #over = new AbortController();
  #isStopped = false;
  /** Whether what has come is known to be wrong. */
  #isWrong = false;
  /** Whether every source was asked alone, and each lacks it or has it wrong. */
  #isProven = false;
  /** Whether one of them failed to tell. */
  #isDoubtful = false;

  /** Takes over the first answer and `spool`, which has `begun` bytes of the body in it already. */
  constructor(options: DownloadOptions, spool: Spool, begun = 0) {
    const { expected, first } = options;
    this.size = first.answer.size ?? expected.fileSize;
    this.coding = first.answer.coding;
    this.sure = expected.fileSize !== undefined;
    this.isSuspect = first.sized !== undefined;
    this.sha256 = expected.fileHash === undefined ? undefined : sha256ToHex(expected.fileHash);
    this.#options = options;
    this.#begun = begun;
    let passes = () => {};
    this.passing = new Promise((resolve) => {
      passes = resolve;
    });
    const onFull = (reason: string) => {
      options.warnDisk(`${options.path} is passed on without being kept: ${reason}`);
      options.passing();
      passes();
    };
    this.#growing = new Growing(spool, this.size, onFull, canTell(expected) || expected.named !== undefined);
    this.#beginnings = new Beginnings(options.beginnings, this.#growing, {
      ...{ path: options.path, size: this.size ?? expected.said, sha256: this.sha256 },
    });
    setMaxListeners(0, this.#over.signal);
    this.#growing.onAbandoned = options.abandoned;
    this.ended = this.#run().finally(() => this.#growing.leave());
  }

  /** See {@link Growing.hold}. */
  hold(): boolean {
    return !this.#isStopped && this.#growing.hold();
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

  /**
   * Ends it if nobody reads it; what has come is kept as a beginning, and whoever asks for it goes on from there. False if
   * somebody does read it, or is about to.
   */
  stop(): boolean {
    if (!this.#growing.isAbandoned) return false;
    this.#isStopped = true;
    const { path } = this.#options;
    this.#over.abort(
      new CacheError('aborted', `${path}: nobody reads it, and others wait for its connections`),
    );
    return true;
  }

  /** Whether it passes through memory, and waits for its readers. */
  get isPassing(): boolean {
    return this.#growing.isPassing;
  }

  /** Whether whoever read it, or was about to, has left. */
  get isAbandoned(): boolean {
    return this.#growing.isAbandoned;
  }

  async #run(): Promise<void> {
    const { keep, path, signal, warnDisk } = this.#options;
    const onAbort = () => this.#over.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    try {
      const { arrived, origin } = await this.#fetch();
      this.origin = origin;
      this.#growing.complete();
      const file = await this.#growing.file();
      if (file === undefined) return;
      await this.#beginnings.settled();
      await keep(file, arrived, origin).catch((error) => {
        warnDisk(`${path} was not kept: ${describe(error)}`);
      });
    } catch (error) {
      await this.#giveUp(error);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Tells readers, and keeps what has come for whoever asks next, unless it is wrong. */
  async #giveUp(error: unknown): Promise<void> {
    const { ending, log, misled, path, unfit } = this.#options;
    if (this.#isStopped) log.info(`${describe(error)}; it goes on when it is asked for`);
    else log.warn(`${path} could not be had: ${describe(error)}`);
    if (isCacheError(error, 'invalid')) await unfit();
    if (this.#isWrong && this.#growing.shown > 0) misled();
    ending();
    this.failure = this.#failureOf(error);
    this.#growing.fail(this.failure);
    if (!this.#isWrong) await this.#beginnings.keep();
  }

  /** What readers are told. That somebody lacks it, or has it wrong, says nothing of the others. */
  #failureOf(error: unknown): Error {
    if (this.#isProven)
      return new CacheError('not-found', `${describe(error)}; no upstream has it right`, error);
    if (isCacheError(error, 'not-found') || isCacheError(error, 'invalid')) {
      return new CacheError('upstream', error.message, error);
    }
    return error instanceof Error ? error : new Error(String(error));
  }

  async #fetch(): Promise<Had> {
    const { first, returnMs, sources: all } = this.#options;
    // Answers of several sources are joined only if the file's own hash is known: packed otherwise, the same NAR is another file.
    const others = this.#isOneFile ? [] : all.filter((source) => source !== first.source);
    const patienceMs =
      others.length === 0 ? returnMs : Math.min(returnMs ?? BESIDE_OTHERS_MS, BESIDE_OTHERS_MS);
    const sources = new Sources(this.#isOneFile ? all : [first.source], patienceMs);
    const state = sources.all.find(({ source }) => source === first.source);
    try {
      const answered = state && { state, answer: first.answer };
      const arrived = await this.#attempt(this.#growing, sources, answered, this.#begun);
      if (arrived.proof === 'unproven') return await this.#fetchProof(sources, arrived);
      return { arrived, origin: mostOf(sources).upstream.url };
    } catch (error) {
      this.#isWrong = isCacheError(error, 'invalid');
      if (!this.#isWrong) {
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
    // Else all of them have been asked for the rest.
    return !this.#isOneFile && ['upstream', 'refused', 'timeout', 'proxy', 'not-found'].includes(code);
  }

  /** Whether a hash tells that the bytes of several sources are of one file. */
  get #isOneFile(): boolean {
    const { fileHash, named } = this.#options.expected;
    return fileHash !== undefined || named !== undefined;
  }

  #attempt(
    growing: Growing,
    sources: Sources,
    first?: { readonly state: SourceState; readonly answer: Answer },
    begun = 0,
  ): Promise<Arrived> {
    const { connections, expected, log, path } = this.#options;
    this.#sources = sources;
    const written = () => {
      if (growing === this.#growing) this.#beginnings.note();
      if (growing.isPassing && (growing.isAbandoned || growing !== this.#growing)) {
        throw new CacheError('aborted', `${path}: nobody reads it, and it can't be kept`);
      }
    };
    const { size } = this;
    const { signal } = this.#over;
    return fill({
      ...{ growing, sources, first, begun, size, expected },
      connections,
      written,
      path,
      log,
      signal,
    });
  }

  /**
   * What was joined from `sources` is wrong, and nobody can say which part of it; or it broke off, and nobody could say
   * if another's rest belongs to it. The others may have it right, each on its own; readers who have seen nothing that
   * differs from that go on with it.
   */
  async #fetchElsewhere(sources: Sources, error: CacheError): Promise<Had> {
    const { blame, log, sources: all } = this.#options;
    const isWrong = error.code === 'invalid';
    const givers = sources.all.filter(({ given }) => given > 0 || !isWrong);
    // A single giver is to blame, unless some of it was here already, or what it gave may be of two files.
    const isClear = givers.length === 1 && this.#begun === 0 && givers[0]?.isSteady === true;
    const from = givers.map(({ source }) => source);
    if (isWrong)
      log.warn(`${from.map(({ label }) => label).join(' and ')}: sent wrong bytes: ${error.message}`);
    if (isWrong && isClear) for (const source of from) blame(source);
    const others = all.filter((source) => !from.includes(source));
    // What has only broken off may come as a whole the next time.
    const again = isWrong && isClear ? [] : from;
    this.#isDoubtful = false;
    const found = await this.#fetchAlone(others, again, error.message, () => true);
    if (found !== undefined) return found;
    this.#isProven = isWrong && !this.#isDoubtful;
    throw error;
  }

  /** What nobody here can judge, another source may have in a form that can be judged; else it is passed on as it is. */
  async #fetchProof(sources: Sources, arrived: Arrived): Promise<Had> {
    const { blame, path, sources: all } = this.#options;
    const given = mostOf(sources);
    const why = `${path}: nobody can tell whether it is what its name says`;
    if (!this.#growing.isPassing) {
      const others = all.filter((source) => source !== given);
      const found = await this.#fetchAlone(others, [], why, ({ proof }) => proof !== 'unproven');
      if (found !== undefined) {
        if (sources.isOfOneFile) blame(given);
        return found;
      }
    }
    if (this.#begun === 0 && sources.isOfOneFile) return { arrived, origin: given.upstream.url };
    throw new CacheError('invalid', `${why}, and it was joined from several answers`);
  }

  /** The first of these, and of those that are asked `again`, that has all of it, so that it `fits`; undefined if none has. */
  async #fetchAlone(
    sources: readonly Source[],
    again: readonly Source[],
    why: string,
    fits: (arrived: Arrived) => boolean,
  ): Promise<Had | undefined> {
    const { blame, log, misled, path, returnMs } = this.#options;
    for (const source of [...sources, ...again]) {
      log.warn(`${why}; trying ${source.label}`);
      const spool = this.#options.spool();
      const growing = new Growing(spool, this.size, () => {});
      const alone = new Sources([source], returnMs);
      // In one answer, so that it is of one file.
      if (again.includes(source)) for (const state of alone.all) state.answersRanges = false;
      try {
        const arrived = await this.#attempt(growing, alone);
        if ((await growing.file()) === undefined)
          throw new CacheError('storage', `${path}: the disk is full`);
        if (!fits(arrived) || !(arrived.proof !== 'unproven' || alone.isOfOneFile))
          throw new CacheError('upstream', 'nobody can tell whether it is right');
        await this.#growing.replace(spool, arrived.size, misled);
        return { arrived, origin: source.upstream.url };
      } catch (failure) {
        await spool.close();
        if (isCacheError(failure, 'aborted') || isCacheError(failure, 'storage')) throw failure;
        if (isCacheError(failure, 'invalid')) blame(source);
        else if (!isAnswer(failure, alone)) this.#isDoubtful = true;
        log.warn(`${path}: not from ${source.label} either: ${describe(failure)}`);
      }
    }
    return undefined;
  }
}

/** Whether a source that failed has thereby said all that it has to say: it lacks the file, has another, or was only guessed. */
function isAnswer(failure: unknown, { all }: Sources): boolean {
  return (
    isCacheError(failure, 'not-found') || all.every((one) => one.hasAnother || one.source.guess === 'settled')
  );
}

/** The one that supplied most of it. */
function mostOf(sources: Sources): Source {
  const [most] = [...sources.all].sort((a, b) => b.given - a.given);
  return (most as SourceState).source;
}
