// Which attempt at a body comes next. At first all who may supply it are asked together, if a hash tells whether their bytes belong
// together. If that comes to nothing, each of them may have all of it alone: readers who have seen nothing that differs from that go
// on with it.
import type { Deadlines } from '../config/config.ts';
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Spool } from '../store/scratch.ts';
import { Attempt, type AttemptTask, type Failed, type Result } from './attempt.ts';
import type { Destination } from './destination.ts';
import type { Here } from './first-answer.ts';
import { Growing } from './growing.ts';
import type { Reputation } from './reputation.ts';
import type { Source } from './sources.ts';
import type { Arrived } from './verify.ts';

interface AttemptsOptions {
  readonly task: AttemptTask;
  /** What readers are shown. */
  readonly growing: Growing;
  /** Who may supply it, the one that has answered first among them. */
  readonly sources: readonly Source[];
  readonly first: Here;
  /** See {@link Deadlines}. */
  readonly returnMs: Deadlines['returnMs'] | undefined;
  readonly spool: () => Spool;
  readonly destination: Pick<Destination, 'misled'>;
  readonly reputation: Pick<Reputation, 'blame' | 'gave'>;
}

/** See {@link Deadlines}: how long one that is away is waited for while others can't go on, but have all of it perhaps. */
const BESIDE_OTHERS_MS = 3000;

type Right = Extract<Result, { kind: 'right' }>;
type Broken = Extract<Result, { kind: 'broken' }>;

/** No source has it alone; `isSure` if each of them said so, or gave it wrong. */
interface Nobody {
  readonly kind: 'nobody';
  readonly isSure: boolean;
}

export class Attempts {
  readonly #options: AttemptsOptions;
  /** The one that is being made. */
  #attempt: Attempt | undefined;
  #origin: string | undefined;
  #verdict: 'none' | 'wrong' | 'proven wrong' = 'none';

  constructor(options: AttemptsOptions) {
    this.#options = options;
  }

  /** Those that the body is being had from now. */
  get busy(): Source[] {
    return this.#attempt === undefined ? [this.#options.first.source] : this.#attempt.busy;
  }

  /** Once all of it is here, the upstream that most of it came from. */
  get origin(): string | undefined {
    return this.#origin;
  }

  /** What is known of the bytes that readers are shown; `proven wrong` if no source has them right either. */
  get verdict(): 'none' | 'wrong' | 'proven wrong' {
    return this.#verdict;
  }

  /**
   * Makes one attempt after another until one is right, which completes the growing file, or none is left.
   * `from`: where what is in it already ends. Never rejects.
   */
  async run(from: number): Promise<Result> {
    const { first, growing, reputation, returnMs, sources, task } = this.#options;
    // Answers of several sources are joined only if the file's own hash is known: packed otherwise, the same NAR is another file.
    const joined = this.#isOneFile ? sources : [first.source];
    const hasOthers = sources.length > joined.length;
    const patienceMs = hasOthers ? Math.min(returnMs ?? BESIDE_OTHERS_MS, BESIDE_OTHERS_MS) : returnMs;
    const attempt = new Attempt(growing, joined, task, { returnMs: patienceMs });
    this.#attempt = attempt;
    const begunAt = performance.now();
    const result = await attempt.run(first, from);
    if (result.kind === 'right') attempt.noteParts(performance.now() - begunAt);
    const had = result.kind === 'right' ? await this.#accept(attempt, result.arrived) : result;
    if (had.kind === 'right') return had;
    if (had.kind === 'wrong') this.#verdict = 'wrong';
    else for (const source of attempt.givers) reputation.gave(source);
    // A body that passed through memory is gone, so it can't be compared with what its readers have seen.
    if (!this.#mayBeElsewhere(had) || growing.isPassing) return had;
    return await this.#fetchElsewhere(attempt, had);
  }

  /** Whether others may have it though those it was fetched from could not give it. */
  #mayBeElsewhere({ error, kind }: Failed): boolean {
    if (kind === 'wrong') return true;
    // Otherwise all sources have been asked for the rest already.
    return (
      !this.#isOneFile &&
      isCacheError(error) &&
      ['upstream', 'refused', 'timeout', 'proxy', 'not-found'].includes(error.code)
    );
  }

  /** Whether a hash tells that the bytes of several sources are of one file. */
  get #isOneFile(): boolean {
    const { fileHash, named } = this.#options.task.expected;
    return fileHash !== undefined || named !== undefined;
  }

  /** What nobody here can judge, another source may have in a form that can be judged; else it is passed on as it is. */
  async #accept(attempt: Attempt, arrived: Arrived): Promise<Result> {
    const { growing, reputation, sources, task } = this.#options;
    const { isOfOneFile, main } = attempt;
    if (arrived.proof === 'unproven') {
      const why = `${task.path}: nobody can tell whether it is what its name says`;
      const others = sources.filter((source) => source !== main);
      const isProven = ({ proof }: Arrived) => proof !== 'unproven';
      const other = growing.isPassing ? undefined : await this.#fetchAlone(others, [], why, isProven);
      if (other?.kind === 'right' && isOfOneFile) reputation.blame(main);
      if (other?.kind === 'right' || other?.kind === 'broken') return other;
      if (!isOfOneFile)
        return {
          kind: 'wrong',
          error: new CacheError('invalid', `${why}, and it was joined from several answers`),
        };
    }
    this.#origin = main.upstream.url;
    growing.complete();
    return { kind: 'right', arrived };
  }

  /**
   * What was joined in that attempt is wrong, and nobody can say which part of it; or it broke off, and nobody could say
   * if another's rest belongs to it. The others may have it right, each on its own; readers who have seen nothing that
   * differs from that go on with it.
   */
  async #fetchElsewhere(attempt: Attempt, failed: Failed): Promise<Result> {
    const { reputation, sources, task } = this.#options;
    const { kind, error } = failed;
    const isWrong = kind === 'wrong';
    const from = isWrong ? attempt.givers : attempt.sources;
    const culprit = isWrong ? attempt.culprit : undefined;
    if (kind === 'wrong')
      task.emit({
        kind: 'download-rejected',
        path: task.path,
        from: from.map(({ label }) => label),
        error,
      });
    if (culprit !== undefined) reputation.blame(culprit);
    const others = sources.filter((source) => !from.includes(source));
    // A source that only broke off may give the whole the next time; and one that was wrong when it coded, the right without that.
    const wasCoded = isWrong && attempt.wasCoded;
    if (wasCoded) for (const { upstream } of from) upstream.coding.distrust();
    const again = culprit === undefined || wasCoded ? from : [];
    const why = error instanceof Error ? error.message : describe(error);
    const found = await this.#fetchAlone(others, again, why, () => true);
    if (found.kind !== 'nobody') return found;
    if (isWrong && found.isSure) this.#verdict = 'proven wrong';
    return failed;
  }

  /** The first of these, and of those that are asked `again`, that has all of it, so that it `fits`. */
  async #fetchAlone(
    sources: readonly Source[],
    again: readonly Source[],
    why: string,
    fits: (arrived: Arrived) => boolean,
  ): Promise<Right | Broken | Nobody> {
    const { reputation, returnMs, task } = this.#options;
    const { emit, path, size } = task;
    let isSure = true;
    for (const source of [...sources, ...again]) {
      emit({ kind: 'failover', path, to: source.label, why });
      const spool = this.#options.spool();
      const growing = new Growing(spool, { size, isJudged: true });
      // Asked for in one answer, so that all bytes are of one file.
      const manner = { returnMs, whole: again.includes(source) };
      const attempt = new Attempt(growing, [source], task, manner);
      this.#attempt = attempt;
      const result = await attempt.run();
      const had =
        result.kind === 'right' ? await this.#takeOver(attempt, spool, result.arrived, fits) : result;
      if (had.kind === 'right') return had;
      const { error } = had;
      await spool.close();
      if (had.kind === 'wrong') reputation.blame(source);
      else if (isCacheError(error, 'aborted') || isCacheError(error, 'storage')) return had;
      else if (!attempt.isAnswered(error)) isSure = false;
      emit({ kind: 'failover-failed', path, to: source.label, error });
    }
    return { kind: 'nobody', isSure };
  }

  /** Has readers go on with what came in that attempt, if it `fits`. */
  async #takeOver(
    { growing, isOfOneFile, main }: Attempt,
    spool: Spool,
    arrived: Arrived,
    fits: (arrived: Arrived) => boolean,
  ): Promise<Right | Broken> {
    const { destination, growing: shown, task } = this.#options;
    const broken = (code: 'storage' | 'upstream', what: string) => {
      return { kind: 'broken', error: new CacheError(code, what) } as const;
    };
    if ((await growing.file()) === undefined) return broken('storage', `${task.path}: the disk is full`);
    const isProven = arrived.proof !== 'unproven' || isOfOneFile;
    if (!fits(arrived) || !isProven) return broken('upstream', 'nobody can tell whether it is right');
    this.#origin = main.upstream.url;
    try {
      await shown.replace(spool, arrived.size, () => destination.misled());
    } catch (error) {
      return { kind: 'broken', error };
    }
    return { kind: 'right', arrived };
  }
}
