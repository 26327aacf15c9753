// The first question to those who may have a body, and what all that they say comes to: one has it, all lack it, or it can't
// be told.
import { CacheError, isCacheError, lacksDescriptors } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { Ahead } from '../sync/ahead.ts';
import type { Answer, Part } from '../upstream/answer.ts';
import { Postponement } from '../upstream/standing.ts';
import type { First, Upstreams } from '../upstream/upstreams.ts';
import type { Via } from '../upstream/via.ts';
import type { Reputation } from './reputation.ts';
import type { Source } from './sources.ts';
import { canTell, type Expected } from './verify.ts';

export interface Asked {
  readonly sources: readonly Source[];
  /** What it is: a NAR may take minutes to its first byte, and is never empty. */
  readonly isNar: boolean;
  /** Where a miss is remembered; undefined where it is not. */
  readonly path: string | undefined;
  readonly expected: Expected;
  /** The part to ask for; all of it if undefined. */
  readonly part: Part | undefined;
  /** Whom the request has come through: those say only that they do not have it yet, which is nothing to remember. */
  readonly via: Via;
  /** Of what nobody has asked for yet. */
  readonly ahead?: Ahead | undefined;
}

/** A source, and its answer. */
export interface Here {
  readonly source: Source;
  readonly answer: Answer;
  /** Whether it is not as large as was expected, which nobody who has it says. */
  readonly sized?: 'otherwise';
}

/** `unsure` also where nobody says that he lacks it, but nobody has it right. */
export type FirstAnswer = First<Here>;

interface Context {
  readonly upstreams: Upstreams;
  readonly reputation: Pick<Reputation, 'hasGiven'>;
  readonly emit: Emit;
  readonly signal: AbortSignal;
  /** Told that somebody has another body than was expected, and nobody has the right one. */
  readonly unfit: () => Promise<void>;
}

/** @throws CacheError of those that could not be asked, if nobody else has it */
export async function firstAnswer(asked: Asked, context: Context): Promise<FirstAnswer> {
  const { expected } = asked;
  const unfit = new Set<Source>();
  const first = await ask(asked, context, unfit).catch((error: unknown) => {
    return { kind: 'failed' as const, error };
  });
  if (first.kind !== 'found' && unfit.size > 0 && !context.signal.aborted) {
    // The narinfo's FileSize is not checked by anybody; but nothing else tells so early that a source has another file.
    const mayBeRight = expected.fileSize !== undefined && canTell(expected);
    const other = mayBeRight ? await askOtherwise(asked, context, [...unfit]) : undefined;
    if (other !== undefined) return other;
    await context.unfit();
  }
  if (first.kind === 'failed') throw first.error;
  return first;
}

/** What those have that have something of another size. */
async function askOtherwise(
  asked: Asked,
  context: Context,
  sources: readonly Source[],
): Promise<FirstAnswer | undefined> {
  const expected = { ...asked.expected, fileSize: undefined };
  const again = { ...asked, sources, expected, part: undefined };
  const other = await ask(again, context, new Set()).catch(() => undefined);
  if (other?.kind !== 'found') return undefined;
  return { kind: 'found', value: { ...other.value, sized: 'otherwise' } };
}

/** `unfit` gets those that have another file than was expected. */
async function ask(asked: Asked, context: Context, unfit: Set<Source>): Promise<FirstAnswer> {
  const { ahead, expected, isNar, part, path, sources, via } = asked;
  const askedAll = via.length === 0;
  const { emit, signal, upstreams } = context;
  /** Of those that have another file than the narinfo describes. */
  const unfits: CacheError[] = [];
  let saysNo = false;
  /** What names that stand alone were answered with that says nothing. */
  const strange: CacheError[] = [];

  const askOne = async (source: Source, over: AbortSignal, insist: boolean): Promise<Here | undefined> => {
    const { guess, label } = source;
    const answer = await source.ask(over, part, { insist, patient: isNar }).catch((error) => {
      if (guess === undefined || over.aborted || lacksDescriptors(error)) throw error;
      // The source was not even asked.
      if (error instanceof Postponement && !insist) throw error;
      if (guess === 'settled') emit({ kind: 'guess-failed', error });
      else if (isCacheError(error, 'not-found')) strange.push(error);
      else throw error;
      return 'strange' as const;
    });
    if (answer === 'strange') return undefined;
    if (answer === undefined) {
      if (context.reputation.hasGiven(source))
        throw new CacheError('upstream', `${label}: says that it has no such thing, of which it gave bytes`);
      saysNo = true;
      return undefined;
    }
    const problem = problemOf(answer, isNar, expected);
    if (problem === undefined) return { source, answer };
    answer.body.destroy();
    if (guess === undefined) {
      unfit.add(source);
      unfits.push(new CacheError('upstream', `${label}: ${problem}`));
    }
    emit({ kind: 'source-unfit', source: label, problem });
    return undefined;
  };
  const candidates = sources.map((source) => ({
    upstream: source.upstream,
    certain: source.certain,
    at: source.at,
    ask: (over: AbortSignal, insist: boolean) => askOne(source, over, insist),
  }));
  const lookedFor = {
    kind: isNar ? ('nar' as const) : ('other' as const),
    path: askedAll ? path : undefined,
    discard: ({ answer }: Here) => answer.body.destroy(),
    signal,
    ahead,
  };
  const first = await upstreams.first(candidates, lookedFor);
  if (first.kind === 'found') return first;
  const isSure = first.kind === 'missing' && askedAll;
  const required = sources.some(({ upstream }) => upstream.required);
  if (unfits.length > 0) {
    // No source has it right. While one was not asked, that is only a failure of the others.
    return isSure ? { kind: 'unsure' } : upstreams.fail(unfits, required);
  }
  // A miss needs at least one source that said no.
  const [error] = strange;
  if (error !== undefined && !saysNo) {
    upstreams.fail([new CacheError('upstream', error.message, error)], required);
  }
  return { kind: isSure ? 'missing' : 'unsure' };
}

/** What can be said against a body before its first byte. */
function problemOf(answer: Answer, isNar: boolean, { fileSize }: Expected): string | undefined {
  const size = answer.size ?? fileSize;
  // An empty body has no last piece to hold back until its hash is checked.
  const isEmpty = isNar && size === 0;
  if (!isEmpty && (fileSize === undefined || size === fileSize)) return undefined;
  const wanted = fileSize === undefined ? 'a NAR' : `${fileSize} bytes as its narinfo says`;
  return `has ${size} bytes, expected ${wanted}`;
}
