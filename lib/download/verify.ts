// The verdict on a body: follows the front of the file, hashes it, unpacks it where Node can, and compares with what is
// known of it beforehand.
import { createHash, type Hash } from 'node:crypto';
import { isDecodable } from '../bytes/codings.ts';
import { CacheError } from '../errors.ts';
import { type Digest as FileDigest, type Sha256, sha256FromBytes, sha256ToHex } from '../nix/hash.ts';
import { type JudgedNamed, judgeNamed, type Named } from '../nix/named.ts';
import { checkUnpacked, compare, Digest, type ExpectedNar } from '../nix/unpacked.ts';
import type { Answer } from '../upstream/answer.ts';
import type { Growing } from './growing.ts';

/** What is known beforehand of a body; undefined where nothing is. */
export interface Expected {
  readonly fileHash: Sha256 | undefined;
  /** The file's hash by another algorithm, where that is all there is to tell it by. */
  readonly otherFileHash?: FileDigest | undefined;
  readonly fileSize: number | undefined;
  readonly nar: ExpectedNar | undefined;
  /** The size that only its narinfo says, which is not signed; whoever has the file tells none. */
  readonly said?: number | undefined;
  /** Of a NAR of which only its name is known, which is the hash of the file or of what is in it. */
  readonly named?: Named;
}

/** Whether wrong bytes would be noticed. */
export function canTell({ fileHash, nar, otherFileHash }: Expected): boolean {
  return (fileHash ?? otherFileHash) !== undefined || (nar !== undefined && isDecodable(nar.compression));
}

/** What is expected of the body of that answer: a size that only the narinfo says is no promise where a hash tells what is all of it. */
export function sizedBy(answer: Answer, expected: Expected): Expected {
  const { fileSize, nar } = expected;
  const isProven = answer.size !== undefined || answer.partial || nar?.compression === 'none';
  return isProven || !canTell(expected) ? expected : { ...expected, fileSize: undefined, said: fileSize };
}

/** More than a NAR of that size becomes by being packed, in whatever way. */
const mostPacked = (narSize: number) => narSize + Math.ceil(narSize / 8) + (1 << 20);

/** What arrived, and was right. */
export interface Arrived {
  readonly size: number;
  /** In hexadecimal. */
  readonly sha256: string;
  /** Where only a name was known: see {@link JudgedNamed}. */
  readonly proof?: JudgedNamed['proof'];
}

/** A question from those who fill a file to whoever judges it: whether what is there is all of it. */
export class Inquiry {
  readonly #growing: Growing;
  #asking: ((isAll: boolean | undefined) => void)[] = [];

  constructor(growing: Growing) {
    this.#growing = growing;
  }

  /** Undefined if that shows only after the end. Rejects with the signal's reason. */
  async ask(signal: AbortSignal): Promise<boolean | undefined> {
    signal.throwIfAborted();
    return await new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      this.#asking.push(resolve);
      this.#growing.look();
    });
  }

  /** To be called when all that is there has been judged. */
  answer(isAll: () => boolean | undefined): void {
    for (const tell of this.#asking.splice(0)) tell(isAll());
  }
}

/**
 * Reads the growing file to its end, which is where its front stands when it is filled.
 * @throws CacheError `invalid` if it is not what was expected, `aborted` if there is no end of it
 */
export async function verify(
  growing: Growing,
  expected: Expected,
  label: string,
  inquiry = new Inquiry(growing),
): Promise<Arrived> {
  const { named, nar, otherFileHash: other } = expected;
  if (named !== undefined) return judgeNamed(named, () => follow(growing, label, inquiry), label);
  const file = new Digest();
  const otherHash = other && createHash(other.algorithm);
  const fileHash = expected.fileHash && sha256ToHex(expected.fileHash);
  const isAll = () => (fileHash === undefined ? undefined : file.soFar().toString('hex') === fileHash);
  const followed = follow(growing, label, inquiry, isAll);
  const hashed = file.through(otherHash === undefined ? followed : through(otherHash, followed));
  const chunks = expected.said === undefined ? hashed : bounded(label, expected, hashed);
  if (nar !== undefined && isDecodable(nar.compression)) {
    await checkUnpacked(label, nar, chunks);
  }
  // Reads everything if nothing was unpacked; otherwise the chunks are at their end already.
  for await (const _ of chunks);
  compare(label, 'size', expected.fileSize, file.size);
  const digest = file.end();
  const sha256 = digest.toString('hex');
  compare(label, 'SHA-256', fileHash, sha256);
  compare(label, `${other?.algorithm}`, other?.bytes.toString('hex'), otherHash?.digest('hex') ?? '');
  if (nar?.compression === 'none') {
    compare(label, 'NarSize', nar.narSize, file.size);
    compare(label, 'NarHash', nar.narHash, sha256FromBytes(digest));
  }
  return { size: file.size, sha256 };
}

async function* through(hash: Hash, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

/** @throws CacheError `invalid` behind what can't be that NAR any more */
async function* bounded(
  label: string,
  { nar }: Expected,
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  const most = mostPacked(nar?.narSize ?? Number.POSITIVE_INFINITY);
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > most) compare(label, 'size', `at most ${most}`, 'more');
    yield chunk;
  }
}

/** The bytes of the growing file, up to its end. `isAll` is whether those that were taken are all, as far as that can be told. */
async function* follow(
  growing: Growing,
  label: string,
  inquiry: Inquiry,
  isAll: () => boolean | undefined = () => undefined,
): AsyncGenerator<Buffer> {
  const cursor = growing.cursor(0);
  try {
    for (;;) {
      // Read before the front: after the end the front does not move.
      const { kind } = growing.state;
      if (kind === 'broken' || kind === 'failed')
        throw new CacheError('aborted', `${label}: there is no more of it`);
      const { front } = growing;
      while (cursor.at < front) yield await cursor.read(front);
      if (kind !== 'growing') return;
      if (growing.front > cursor.at) continue;
      inquiry.answer(isAll);
      if (growing.state.kind === 'growing') await growing.change();
    }
  } finally {
    cursor.close();
  }
}
