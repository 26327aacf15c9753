// What a narinfo says of the NAR inside its file, and whether that is so.
import { createHash } from 'node:crypto';
import { decode } from '../codings.ts';
import { CacheError } from '../errors.ts';
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

  end(): Buffer {
    return this.#hash.digest();
  }
}

/**
 * Unpacks a NAR's file, of a compression that can be decoded, and compares.
 * @throws CacheError `invalid`, beginning with `label`, as soon as it is known to be wrong
 */
export async function checkUnpacked(
  label: string,
  { compression, narHash, narSize = Number.POSITIVE_INFINITY }: ExpectedNar,
  chunks: AsyncIterable<Buffer>,
): Promise<void> {
  const compare = (what: string, wanted: string | number, found: string | number) => {
    if (wanted === found) return;
    throw new CacheError('invalid', `${label}: ${what} is wrong: expected ${wanted}, found ${found}`);
  };
  const unpacked = new Digest();
  for await (const _ of unpacked.through(decode(compression, chunks))) {
    if (unpacked.size > narSize) compare('NarSize', narSize, `more than ${narSize}`);
  }
  if (Number.isFinite(narSize)) compare('NarSize', narSize, unpacked.size);
  compare('NarHash', narHash, sha256FromBytes(unpacked.end()));
}
