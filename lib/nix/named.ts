// The verdict on a NAR of which nobody knows more than its name: whether the name's digits are the hash of the file, or of what is
// packed in it. Where that can't be told, it is passed on, and nothing more.
import { decode, isDecodable } from '../bytes/codings.ts';
import { CacheError, isCacheError } from '../errors.ts';
import type { Compression } from './compression.ts';
import { type Sha256, sha256FromBytes } from './hash.ts';
import { hashInNarName, type NarName } from './object-name.ts';
import { packingOf, proofOf, TELLING_BYTES } from './packing.ts';
import { Digest } from './unpacked.ts';

type Chunks = AsyncGenerator<Buffer>;

export interface JudgedNamed {
  readonly size: number;
  /** In hexadecimal. */
  readonly sha256: string;
  /** What the digits in its name turned out to be. */
  readonly proof: 'file' | 'nar' | 'unproven';
}

/** All that is known of a NAR. */
export interface Named {
  /** Its digits are the hash of the file, or of what is packed in it. */
  readonly name: NarName;
  /** Where more than the name told it; else the name's ending or the first bytes of the file tell. */
  readonly packing?: Compression | undefined;
}

/**
 * Reads `pieces()`, once more from the start if it can't be unpacked.
 * @throws CacheError `invalid`, beginning with `label`, if the name's digits are neither hash; or what reading throws
 */
export async function judgeNamed(
  { name, packing: told }: Named,
  pieces: () => Chunks,
  label: string,
): Promise<JudgedNamed> {
  const { head, chunks } = await begun(pieces());
  const packing = told ?? packingOf(name, head);
  let file = new Digest();
  let narHash: Sha256 | 'wrong' | undefined;
  if (packing !== undefined && isDecodable(packing)) {
    narHash = await hashInside(packing, file.through(chunks));
    if (narHash === 'wrong') {
      // It is not known how far the decoder has read.
      file = new Digest();
      for await (const _ of file.through(pieces()));
    }
  } else for await (const _ of file.through(chunks));
  const digest = file.end();
  const fileHash = sha256FromBytes(digest);
  const proof = proofOf(name, { packing, fileHash, narHash });
  if (proof === undefined) {
    const inside = narHash === undefined || narHash === 'wrong' ? '' : `, that of what is in it ${narHash}`;
    const found = `its SHA-256 is ${fileHash}${inside}`;
    throw new CacheError('invalid', `${label}: ${found}, its name says ${hashInNarName(name)}`);
  }
  return { size: file.size, sha256: digest.toString('hex'), proof };
}

async function hashInside(coding: string, chunks: Chunks): Promise<Sha256 | 'wrong'> {
  const inside = new Digest();
  try {
    for await (const _ of inside.through(decode(coding, chunks)));
    return sha256FromBytes(inside.end());
  } catch (error) {
    if (isCacheError(error, 'invalid')) return 'wrong';
    throw error;
  }
}

/** Its first bytes, and all of it. */
async function begun(chunks: Chunks): Promise<{ head: Buffer; chunks: Chunks }> {
  let head: Buffer = Buffer.alloc(0);
  while (head.length < TELLING_BYTES) {
    const next = await chunks.next();
    if (next.done) break;
    // The chunk is only lent.
    head = Buffer.concat([head, next.value]);
  }
  const all = async function* () {
    if (head.length > 0) yield head;
    yield* chunks;
  };
  return { head: head.subarray(0, TELLING_BYTES), chunks: all() };
}
