// What the content address of a path says of the bytes in its NAR, and whether that is so: clients unpack a path whose name follows from
// other bytes, and then refuse it. Hashed as in nix/src/libstore/local-store.cc (addToStore) and references.cc (HashModuloSink).
import { createHash, type Hash } from 'node:crypto';
import { CacheError } from '../errors.ts';
import { type AddressMethod, contentAddressOf } from './content-address.ts';
import type { Digest } from './hash.ts';
import type { NarInfo } from './narinfo.ts';

/** Takes the NAR's bytes as they pass. */
export interface CaContents {
  update(chunk: Buffer): void;
  /** @throws CacheError `invalid`, beginning with `label`, if they are others than the content address says */
  check(label: string): void;
}

interface Hashed {
  update(chunk: Buffer): unknown;
  /** What clients make of it, of which some may differ; none if there is nothing of the kind. */
  digests(): readonly Buffer[];
}

/**
 * What is to be compared of the narinfo's path; undefined if nothing is: it has no content address, that is the NarHash, or the hash of
 * a git tree, which is left to clients.
 */
export function caContents(info: NarInfo): CaContents | undefined {
  const address = contentAddressOf(info.ca);
  const own = info.references.includes(info.storePath.replace(/^.*\//, '')) ? info.hashPart : undefined;
  const hashed = address && hashOf(address.method, address.digest, own);
  if (hashed === undefined) return undefined;
  return {
    update: (chunk) => void hashed.update(chunk),
    check: (label) => {
      const found = hashed.digests();
      if (found.some((one) => one.equals(address?.digest.bytes as Buffer))) return;
      const what = found[0] === undefined ? 'more than one file' : `what has ${found[0].toString('hex')}`;
      throw new CacheError('invalid', `${label}: CA is ${info.ca}, but its NAR holds ${what}`);
    },
  };
}

function hashOf(method: AddressMethod, { algorithm }: Digest, own: string | undefined): Hashed | undefined {
  if (algorithm === 'blake3' || method === 'fixed:git:') return undefined;
  if (method === 'text:' || method === 'fixed:') return new FileHash(algorithm);
  if (own !== undefined) return new HashModulo(algorithm, own);
  // Compared when the narinfo came.
  if (algorithm === 'sha256') return undefined;
  const hash = createHash(algorithm);
  return { update: (chunk) => hash.update(chunk), digests: () => [hash.digest()] };
}

/** Up to the length of the contents, in the NAR of a single file. */
const HEADS = [[], ['executable', '']].map((flag) =>
  Buffer.concat(['nix-archive-1', '(', 'type', 'regular', ...flag, 'contents'].map(packed)),
);
const LENGTH_BYTES = 8;

/** As NARs have it: the length, the bytes, zeroes up to a multiple of 8. */
function packed(text: string): Buffer {
  const out = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8);
  out.writeBigUInt64LE(BigInt(text.length));
  out.write(text, 8);
  return out;
}

/** Of the contents of the one file in a NAR. What is behind them is for the NarHash. */
class FileHash implements Hashed {
  readonly #hash: Hash;
  /** Until it is known what it is the NAR of. */
  #head = Buffer.alloc(0);
  /** Bytes of the contents to come; undefined if it is not the NAR of a file, or not known to be yet. */
  #left: number | undefined;

  constructor(algorithm: string) {
    this.#hash = createHash(algorithm);
  }

  update(chunk: Buffer): void {
    if (this.#left === undefined) this.#begin(chunk);
    else this.#take(chunk);
  }

  #begin(chunk: Buffer): void {
    const longest = Math.max(...HEADS.map(({ length }) => length)) + LENGTH_BYTES;
    // No more than a little of what is no file.
    if (this.#head.length >= longest) return;
    this.#head = Buffer.concat([this.#head, chunk]);
    const head = HEADS.find((one) => this.#head.subarray(0, one.length).equals(one));
    if (head === undefined || this.#head.length < head.length + LENGTH_BYTES) return;
    this.#left = Number(this.#head.readBigUInt64LE(head.length));
    this.#take(this.#head.subarray(head.length + LENGTH_BYTES));
  }

  #take(bytes: Buffer): void {
    const taken = bytes.subarray(0, this.#left);
    this.#hash.update(taken);
    this.#left = (this.#left as number) - taken.length;
  }

  digests(): Buffer[] {
    return this.#left === 0 ? [this.#hash.digest()] : [];
  }
}

/**
 * Of a NAR in which the path's own hash is left out. Nix 2.8 tells its places behind the end, 2.26 and 2.34 do not; each makes other paths, and
 * refuses those of the others.
 */
class HashModulo implements Hashed {
  readonly #hash: Hash;
  readonly #own: Buffer;
  readonly #places: number[] = [];
  /** What may be the beginning of another. */
  #rest = Buffer.alloc(0);
  /** Bytes that are hashed. */
  #at = 0;

  constructor(algorithm: string, own: string) {
    this.#hash = createHash(algorithm);
    this.#own = Buffer.from(own);
  }

  update(chunk: Buffer): void {
    const own = this.#own;
    const bytes = Buffer.concat([this.#rest, chunk]);
    for (let at = bytes.indexOf(own); at >= 0; at = bytes.indexOf(own, at + own.length)) {
      this.#places.push(this.#at + at);
      bytes.fill(0, at, at + own.length);
    }
    const done = Math.max(bytes.length - own.length + 1, 0);
    this.#hash.update(bytes.subarray(0, done));
    this.#at += done;
    this.#rest = bytes.subarray(done);
  }

  digests(): Buffer[] {
    this.#hash.update(this.#rest);
    const without = this.#hash.copy().digest();
    for (const place of this.#places) this.#hash.update(`|${place}`);
    return [this.#hash.digest(), without];
  }
}
