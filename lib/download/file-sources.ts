// Who may supply what is neither a narinfo nor a NAR: listings, logs, realisations, build traces, debug information. No hash says
// what they must be, so they are looked at before anybody gets a byte: what is empty, a web page, or not the JSON that it should be
// counts as no answer. Codings are undone; one that this Node can't undo is passed on and named, as all who ask for them know it.
import { decode, isDecodable, sniffCoding } from '../bytes/codings.ts';
import { atMost } from '../bytes/streams.ts';
import { CacheError } from '../errors.ts';
import { fileProblem, isJson } from '../nix/file-shape.ts';
import type { ObjectKind } from '../nix/object-name.ts';
import type { Answer } from '../upstream/answer.ts';
import type { Source } from './sources.ts';

/** Unpacked: nothing says beforehand how long it is, or when an upstream should have ended. */
const MAX_BYTES = 256 << 20;
/** Most are below it, and looked at as a whole. Of a longer one the beginning must do. */
const WHOLE_BYTES = 4 << 20;
/** Enough of a log to know a coding or a web page by. */
const HEAD_BYTES = 64;

/** The same source, whose answers are such files. */
export function fileSource(source: Source, kind: ObjectKind): Source {
  return {
    ...source,
    // Parts are never asked for: once a coding is undone, offsets are not those of the whole.
    ask: async (signal, _part, need) => {
      const answer = await source.ask(signal, undefined, need);
      if (answer === undefined) return undefined;
      try {
        return await looked(answer, kind, source.label);
      } catch (error) {
        answer.body.destroy();
        throw error;
      }
    },
  };
}

/** @throws CacheError `upstream`, or what reading it throws */
async function looked(answer: Answer, kind: ObjectKind, label: string): Promise<Answer> {
  const tooLong = () => new CacheError('upstream', `${label}: is longer than ${MAX_BYTES} bytes`);
  const raw = await open(atMost(answer.body, MAX_BYTES, tooLong), HEAD_BYTES);
  const coding = answer.coding ?? (kind === 'packed-listing' ? undefined : sniffCoding(raw.head));
  const undone = coding !== undefined && answer.coding === undefined && isDecodable(coding);
  const chunks = undone ? atMost(unpacked(coding, raw.all(), label), MAX_BYTES, tooLong) : raw.all();
  const isPacked = coding !== undefined && !undone;
  const plain = await open(chunks, isJson(kind) && !isPacked ? WHOLE_BYTES : HEAD_BYTES);
  const problem = plain.head.length === 0 ? 'is empty' : isPacked ? undefined : fileProblem(kind, plain);
  if (problem !== undefined) {
    await plain.close();
    throw new CacheError('upstream', `${label}: ${problem}`);
  }
  const size = plain.whole ? plain.head.length : undone ? undefined : answer.size;
  return {
    ...answer,
    ...{ size, start: 0, end: size, partial: false },
    // A JSON text that parses is complete.
    delimited: answer.delimited || (plain.whole && isJson(kind) && !isPacked),
    coding: isPacked ? coding : undefined,
    body: { destroy: (error) => answer.body.destroy(error), [Symbol.asyncIterator]: () => plain.all() },
  };
}

interface Opening {
  readonly head: Buffer;
  /** Whether there is no more. */
  readonly whole: boolean;
  /** The head and what is behind it; once. */
  all(): AsyncGenerator<Buffer>;
  /** Lets go of what is behind the head. */
  close(): Promise<unknown>;
}

/** Reads until `bytes` are there, or all. */
async function open(chunks: AsyncGenerator<Buffer>, bytes: number): Promise<Opening> {
  const pieces: Buffer[] = [];
  let size = 0;
  let whole = false;
  while (size < bytes) {
    const { done, value } = await chunks.next();
    whole = done === true;
    if (done) break;
    pieces.push(value);
    size += value.length;
  }
  const head = Buffer.concat(pieces);
  async function* all() {
    try {
      if (head.length > 0) yield head;
      if (!whole) yield* chunks;
    } finally {
      await chunks.return(undefined);
    }
  }
  return { head, whole, all, close: () => chunks.return(undefined) };
}

/** What cannot be unpacked is the upstream's failure. */
async function* unpacked(
  coding: string,
  chunks: AsyncIterable<Buffer>,
  label: string,
): AsyncGenerator<Buffer> {
  try {
    yield* decode(coding, chunks);
  } catch (error) {
    if (!(error instanceof CacheError) || error.code !== 'invalid') throw error;
    throw new CacheError('upstream', `${label}: ${error.message}`, error);
  }
}
