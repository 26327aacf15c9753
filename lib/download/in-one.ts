// A small body that comes whole in one answer, and is right: nearly all NARs do. It is read into memory and judged there, without the workers,
// ranges and readers of its own front that a large one needs, and that cost far more than its bytes. Anything else that comes of the
// answer is given on as if nothing had been read of it.
import { createHash } from 'node:crypto';
import { isDecodable } from '../bytes/codings.ts';
import { sha256FromBytes, sha256ToHex } from '../nix/hash.ts';
import { checkUnpacked, compare } from '../nix/unpacked.ts';
import type { Answer } from '../upstream/answer.ts';
import type { Incoming } from '../upstream/body.ts';
import type { Arrived, Expected } from './verify.ts';

/** Bodies up to this: they need no file while they come, and to have all of one takes hardly longer than to have its first byte. */
export const SMALL_BYTES = 64 * 1024;

/** What has not come by then is fetched like a large body: its source may be far slower than another. */
const SOON_MS = 1000;

/** The whole body, which is right; or else an answer that gives what that one would have given. */
export type InOne =
  | { readonly kind: 'right'; readonly body: Buffer; readonly arrived: Arrived }
  | { readonly kind: 'other'; readonly answer: Answer };

/** Whether what is expected can be told by a hash of the file, and is small. */
export function mayBeInOne({ fileHash, fileSize, named, otherFileHash, said }: Expected): boolean {
  const isKnown = fileHash !== undefined && fileSize !== undefined && fileSize > 0 && fileSize <= SMALL_BYTES;
  return isKnown && named === undefined && otherFileHash === undefined && said === undefined;
}

/** Reads the answer, of which {@link mayBeInOne} is true; `signal` ends that. Never rejects. */
export async function readInOne(
  answer: Answer,
  expected: Expected,
  label: string,
  signal: AbortSignal,
): Promise<InOne> {
  const cut = () => answer.body.destroy();
  signal.addEventListener('abort', cut);
  if (signal.aborted) cut();
  const read = await collect(answer.body, expected.fileSize as number);
  signal.removeEventListener('abort', cut);
  const body = read.next === undefined ? Buffer.concat(read.chunks) : undefined;
  if (body !== undefined && answer.start === 0) {
    const arrived = await judge(body, expected, label).catch(() => undefined);
    if (arrived !== undefined) return { kind: 'right', body, arrived };
  }
  return { kind: 'other', answer: { ...answer, body: replayed(answer.body, read) } };
}

/** What was read, and what comes then; `next` is undefined at the end. */
interface Read {
  readonly chunks: readonly Buffer[];
  readonly next: (() => AsyncIterator<Buffer>) | undefined;
}

async function collect(body: Incoming, most: number): Promise<Read> {
  const chunks: Buffer[] = [];
  const iterator = body[Symbol.asyncIterator]();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, SOON_MS, 'late');
  });
  try {
    for (let size = 0; size <= most; ) {
      const coming = iterator.next();
      const next = await Promise.race([coming, late]);
      if (next === 'late') return { chunks, next: () => first(coming, iterator) };
      if (next.done === true) return { chunks, next: undefined };
      chunks.push(next.value);
      size += next.value.length;
    }
    return { chunks, next: () => iterator };
  } catch (error) {
    return { chunks, next: () => failing(error) };
  } finally {
    clearTimeout(timer);
  }
}

/** What is on its way already, and then the rest. */
function first(coming: Promise<IteratorResult<Buffer>>, rest: AsyncIterator<Buffer>): AsyncIterator<Buffer> {
  let isTaken = false;
  return {
    next: () => {
      if (isTaken) return rest.next();
      isTaken = true;
      return coming;
    },
    return: async () => (await rest.return?.()) ?? { done: true, value: undefined },
  };
}

function failing(error: unknown): AsyncIterator<Buffer> {
  return {
    next: () => Promise.reject(error),
    return: async () => ({ done: true, value: undefined }),
  };
}

/** The body once more, from its first byte. */
function replayed(body: Incoming, { chunks, next }: Read): Incoming {
  const rest = next?.();
  return {
    get received() {
      return body.received ?? 0;
    },
    destroy: (error) => {
      body.destroy(error);
      // It may stand between two chunks, and says how many bytes came only when it ends.
      rest?.return?.().catch(() => {});
    },
    async *[Symbol.asyncIterator]() {
      yield* chunks;
      if (rest !== undefined) yield* { [Symbol.asyncIterator]: () => rest };
    },
  };
}

/** @throws CacheError `invalid` */
async function judge(body: Buffer, expected: Expected, label: string): Promise<Arrived> {
  const { fileHash, fileSize, nar } = expected;
  compare(label, 'size', fileSize, body.length);
  const digest = createHash('sha256').update(body).digest();
  const sha256 = digest.toString('hex');
  compare(label, 'SHA-256', fileHash && sha256ToHex(fileHash), sha256);
  if (nar?.compression === 'none') {
    compare(label, 'NarSize', nar.narSize, body.length);
    compare(label, 'NarHash', nar.narHash, sha256FromBytes(digest));
  } else if (nar !== undefined && isDecodable(nar.compression)) await checkUnpacked(label, nar, only(body));
  return { size: body.length, sha256 };
}

async function* only(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
}
