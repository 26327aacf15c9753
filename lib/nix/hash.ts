// SHA-256 hashes as Nix writes them. Inside the service a hash is its nix32 text, so that two spellings of
// one hash compare equal.
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

/**
 * Reads `sha256:<hex | nix32 | base64>` or `sha256-<base64>` (SRI).
 * `'other'` is a well-formed hash of another algorithm; undefined is no hash at all.
 */
export function parseHash(text: string): Sha256 | 'other' | undefined {
  const match = /^([a-z0-9]+)([:-])(\S+)$/.exec(text);
  if (!match) return undefined;
  const [, algorithm, separator, digits] = match as unknown as [string, string, string, string];
  if (algorithm !== 'sha256') return /^(md5|sha1|sha512|blake3)$/.test(algorithm) ? 'other' : undefined;
  const bytes = decode(digits, separator === '-');
  return bytes?.length === 32 ? sha256FromBytes(bytes) : undefined;
}

function decode(digits: string, sri: boolean): Buffer | undefined {
  if (!sri && /^[0-9a-f]{64}$/i.test(digits)) return Buffer.from(digits, 'hex');
  if (!sri && digits.length === 52) return decodeNix32(digits);
  if (digits.length !== 44) return undefined;
  const bytes = Buffer.from(digits, 'base64');
  return bytes.toString('base64') === digits ? bytes : undefined;
}
