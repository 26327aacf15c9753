// What a narinfo says of the NAR inside its file, and whether that is so.
import { createHash } from 'node:crypto';
import { decode } from '../bytes/codings.ts';
import { CacheError } from '../errors.ts';
import type { CaContents } from './ca-contents.ts';
import type { Compression } from './compression.ts';
import { type Sha256, sha256FromBytes } from './hash.ts';

export interface ExpectedNar {
  readonly compression: Compression;
  readonly narHash: Sha256;
  /** Undefined where only a NAR's name tells of it. */
  readonly narSize: number | undefined;
}

/** Hashes and counts what passes. */
export class Digest {
  readonly #hash = createHash('sha256');
  size = 0;

  async *through(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      this.#hash.update(chunk);
      this.size += chunk.length;
      yield chunk;
    }
  }

  /** The digest of what has passed until now. */
  soFar(): Buffer {
    return this.#hash.copy().digest();
  }

  end(): Buffer {
    return this.#hash.digest();
  }
}

/** @throws CacheError `invalid`, beginning with `label`, if `found` is not what was wanted; anything is, where that is undefined */
export function compare(
  label: string,
  what: string,
  wanted: string | number | undefined,
  found: string | number,
): void {
  if (wanted === undefined || wanted === found) return;
  throw new CacheError('invalid', `${label}: ${what} is wrong: expected ${wanted}, found ${found}`);
}

/**
 * Unpacks a NAR's file, of a compression that can be decoded or none, and compares; `address` gets what was in it.
 * @throws CacheError `invalid`, beginning with `label`, as soon as it is known to be wrong
 */
export async function checkUnpacked(
  label: string,
  { compression, narHash, narSize }: ExpectedNar,
  chunks: AsyncIterable<Buffer>,
  address?: CaContents,
): Promise<void> {
  const unpacked = new Digest();
  const inside = compression === 'none' ? chunks : decode(compression, chunks);
  for await (const chunk of unpacked.through(inside)) {
    address?.update(chunk);
    if (narSize !== undefined && unpacked.size > narSize)
      compare(label, 'NarSize', narSize, `more than ${narSize}`);
  }
  compare(label, 'NarSize', narSize, unpacked.size);
  compare(label, 'NarHash', narHash, sha256FromBytes(unpacked.end()));
  address?.check(label);
}
