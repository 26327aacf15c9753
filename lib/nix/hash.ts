// Hashes as Nix writes them. Inside the service a SHA-256 is its nix32 text, so that two spellings of one
// hash compare equal.
import { decodeNix32, encodeNix32 } from './nix32.ts';

declare const sha256: unique symbol;
/** A SHA-256 digest in nix32, 52 digits. */
export type Sha256 = string & { readonly [sha256]: true };

/** The digest's 32 bytes as nix32 text. */
export function sha256FromBytes(digest: Uint8Array): Sha256 {
  return encodeNix32(digest) as Sha256;
}

/** Whether `text` is a SHA-256 digest in nix32. */
export function isSha256(text: string): text is Sha256 {
  return text.length === 52 && decodeNix32(text) !== undefined;
}

/** The digest in hexadecimal. */
export function sha256ToHex(hash: Sha256): string {
  return (decodeNix32(hash) as Buffer).toString('hex');
}

const SIZES = { md5: 16, sha1: 20, sha256: 32, sha512: 64, blake3: 32 } as const;

/** A hash of any algorithm that Nix knows. */
export interface Digest {
  readonly algorithm: keyof typeof SIZES;
  readonly bytes: Buffer;
}

/** Reads `<algorithm>:<hex | nix32 | base64>` or `<algorithm>-<base64>` (SRI); undefined if it is no hash. */
export function parseDigest(text: string): Digest | undefined {
  const [, algorithm = '', separator, digits = ''] = /^([a-z0-9]+)([:-])(\S+)$/.exec(text) ?? [];
  if (!isAlgorithm(algorithm)) return undefined;
  const bytes = decode(digits, SIZES[algorithm], separator === '-');
  return bytes && { algorithm, bytes };
}

/** {@link parseDigest}, but of SHA-256 only; `'other'` is a hash of another algorithm. */
export function parseHash(text: string): Sha256 | 'other' | undefined {
  const digest = parseDigest(text);
  if (digest === undefined) return undefined;
  return digest.algorithm === 'sha256' ? sha256FromBytes(digest.bytes) : 'other';
}

function isAlgorithm(text: string): text is keyof typeof SIZES {
  return Object.hasOwn(SIZES, text);
}

/** The length of the digits tells the base. */
function decode(digits: string, size: number, sri: boolean): Buffer | undefined {
  if (!sri && digits.length === 2 * size && /^[0-9a-f]+$/i.test(digits)) return Buffer.from(digits, 'hex');
  if (!sri && digits.length === Math.ceil((8 * size) / 5)) return decodeNix32(digits);
  const bytes = Buffer.from(digits, 'base64');
  return bytes.length === size && bytes.toString('base64') === digits ? bytes : undefined;
}
