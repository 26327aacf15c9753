// The first question to those who may have a body, and what all that they say comes to: one has it, all lack it, or it can't
// be told.
import { CacheError, describe, isCacheError, lacksDescriptors } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Answer, Part } from '../upstream/answer.ts';
import { Postponement } from '../upstream/standing.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import type { Via } from '../upstream/via.ts';
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
}

/** A source and its answer; or nobody has it, in which case `sure` is whether everybody was asked. */
export type First =
  | {
      readonly kind: 'here';
      readonly source: Source;
      readonly answer: Answer;
      /** Whether it is not as large as was expected, which nobody who has it says. */
      readonly sized?: 'otherwise';
    }
  | { readonly kind: 'missing'; readonly sure: boolean };

interface Context {
  readonly upstreams: Upstreams;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Told, before it rejects, that what somebody has is not what was expected. */
  readonly unfit: () => Promise<void>;
  /** Whether it has lately given bytes of it: then it does not lack it, whatever it says. */
  readonly gaveLately: (source: Source) => boolean;
}

/** @throws CacheError of those that could not be asked, if nobody else has it */
export async function firstAnswer(asked: Asked, context: Context): Promise<First> {
  const { expected, sources } = asked;
  const unfit = new Set<Source>();
  // The size is what a narinfo says of it that nobody has checked; but nothing tells sooner that what somebody has is something else.
  const mayBeWrong = expected.fileSize !== undefined && canTell(expected);
  if (!mayBeWrong) return ask(asked, context, unfit);
  let failure: unknown;
  const first = await ask(asked, { ...context, unfit: async () => {} }, unfit).catch((error) => {
    failure = error;
    return undefined;
  });
  if (first?.kind === 'here' || (unfit.size === 0 && failure === undefined)) return first as First;
  if (unfit.size === 0 || context.signal.aborted) throw failure;
  const again = {
    ...asked,
    sources: sources.filter((source) => unfit.has(source)),
    expected: { ...expected, fileSize: undefined },
    part: undefined,
  };
  const found = await ask(again, { ...context, unfit: async () => {} }, new Set()).catch(() => undefined);
  if (found?.kind === 'here') return { ...found, sized: 'otherwise' };
  await context.unfit();
  if (first === undefined) throw failure;
  return first;
}

/** `unfit` gets those that have another file than was expected. */
async function ask(asked: Asked, context: Context, unfit: Set<Source>): Promise<First> {
  const { expected, isNar, part, path, sources, via } = asked;
  const askedAll = via.length === 0;
  const { log, signal, upstreams } = context;
  /** Of those that have another file than the narinfo describes. */
  const unfits: CacheError[] = [];
  let saysNo = false;
  /** What names that stand alone were answered with that says nothing. */
  const strange: CacheError[] = [];

  const askOne = async (
    source: Source,
    over: AbortSignal,
    insist: boolean,
  ): Promise<Extract<First, { kind: 'here' }> | undefined> => {
    const { guess, label } = source;
    const answer = await source.ask(over, part, { insist, patient: isNar }).catch((error) => {
      if (guess === undefined || over.aborted || lacksDescriptors(error)) throw error;
      // It was not even asked.
      if (error instanceof Postponement && !insist) throw error;
      if (guess === 'settled') log.warn(`${describe(error)}; its own narinfo will tell`);
      else if (isCacheError(error, 'not-found')) strange.push(error);
      else throw error;
      return 'strange' as const;
    });
    if (answer === 'strange') return undefined;
    if (answer === undefined) {
      const isAway = context.gaveLately(source);
      if (isAway)
        throw new CacheError('upstream', `${label}: says that it has no such thing, of which it gave bytes`);
      saysNo = true;
      return undefined;
    }
    const problem = problemOf(answer, isNar, expected);
    if (problem === undefined) return { kind: 'here', source, answer };
    answer.body.destroy();
    if (guess === undefined) {
      unfit.add(source);
      unfits.push(new CacheError('upstream', `${label}: ${problem}`));
    }
    log.warn(`${label}: ${problem}`);
    return undefined;
  };
  const candidates = sources.map((source) => ({
    upstream: source.upstream,
    certain: source.certain,
    at: source.at,
    ask: (over: AbortSignal, insist: boolean) => askOne(source, over, insist),
  }));
  let sure = false;
  const whenMissing = () => {
    sure = askedAll;
  };
  const wanted = {
    kind: isNar ? ('nar' as const) : ('other' as const),
    path: askedAll ? path : undefined,
    whenMissing,
    discard: ({ answer }: { answer: Answer }) => answer.body.destroy(),
    signal,
  };
  const first = await upstreams.first(candidates, wanted).catch(async (error) => {
    if (unfits.length > 0) await context.unfit();
    throw error;
  });
  if (first !== undefined) return first;
  const required = sources.some(({ upstream }) => upstream.required);
  if (unfits.length > 0) {
    await context.unfit();
    // Nobody has it right. While somebody was not asked, that is no more than a failure of those who were.
    if (!sure) upstreams.fail(unfits, required);
    return { kind: 'missing', sure: false };
  }
  // Somebody must have said no, or nobody knows.
  const [error] = strange;
  if (error !== undefined && !saysNo) {
    upstreams.fail([new CacheError('upstream', error.message, error)], required);
  }
  return { kind: 'missing', sure };
}

/** What can be said against a body before its first byte. */
function problemOf(answer: Answer, isNar: boolean, { fileSize }: Expected): string | undefined {
  const size = answer.size ?? fileSize;
  // Nothing of an empty body could be held back until its hash is known to be wrong.
  const isEmpty = isNar && size === 0;
  if (!isEmpty && (fileSize === undefined || size === fileSize)) return undefined;
  const wanted = fileSize === undefined ? 'a NAR' : `${fileSize} bytes as its narinfo says`;
  return `has ${size} bytes, expected ${wanted}`;
}
