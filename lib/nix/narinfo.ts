// narinfo: what a cache says about one store path. Parsing is at least as strict as the strictest client, because
// a client stops with an error, not with a miss, on what it can't parse (nix/src/libstore/nar-info.cc).
import { CacheError } from '../errors.ts';
import { type Compression, isCompression } from './compression.ts';
import { isContentAddressed } from './content-address.ts';
import { type Digest, parseHash, type Sha256 } from './hash.ts';
import { readLines } from './narinfo-lines.ts';
import { isEd25519Sig, isSig, keyName } from './sig.ts';
import { basenameIn, hashPartOf, isBasename, isStoreHash, type StoreHash } from './store-path.ts';

export interface NarInfo {
  readonly storePath: string;
  readonly hashPart: StoreHash;
  /** As written: an opaque reference, relative to the cache it came from. */
  readonly url: string;
  readonly compression: Compression;
  readonly fileHash: Sha256 | undefined;
  /** The file's hash by another algorithm, if that is what it says. */
  readonly otherFileHash?: Digest | undefined;
  readonly fileSize: number | undefined;
  readonly narHash: Sha256;
  readonly narSize: number;
  /** Basenames, as written. */
  readonly references: readonly string[];
  readonly deriver: string | undefined;
  readonly sigs: readonly string[];
  readonly ca: string | undefined;
}

/** More than any real narinfo: about nineteen thousand references. */
export const MAX_NARINFO_BYTES = 1 << 20;

/**
 * Reads the narinfo in `text`, of a path in `storeDir`, as {@link mended} leaves it.
 * @throws CacheError `invalid`, with the line at fault
 */
export function parseNarInfo(text: string, storeDir: string): NarInfo {
  const { fields, otherFileHash, sigs } = readLines(text);
  const storePath = required(fields, 'StorePath');
  const basename = basenameIn(storeDir, storePath);
  if (basename === undefined) throw malformed('StorePath', storePath, `a store path in ${storeDir}`);
  const url = required(fields, 'URL');
  if (/[^\x21-\x7e]/.test(url)) throw malformed('URL', url, 'a URL without spaces');
  const compression = fields.get('Compression') ?? 'bzip2';
  if (!isCompression(compression))
    throw malformed('Compression', compression, 'a compression that Nix knows');
  const narHashText = required(fields, 'NarHash');
  const narHash = parseHash(narHashText);
  if (narHash === undefined || narHash === 'other')
    throw malformed('NarHash', narHashText, 'sha256:… or sha256-…');
  const deriver = fields.get('Deriver');
  return {
    storePath,
    hashPart: hashPartOf(basename),
    url,
    compression,
    fileHash: parseHash(fields.get('FileHash') ?? '') as Sha256 | undefined,
    ...(otherFileHash && { otherFileHash }),
    fileSize: Number(fields.get('FileSize')) || undefined,
    narHash,
    narSize: narSize(required(fields, 'NarSize')),
    references: references(fields.get('References') ?? ''),
    deriver: deriver === 'unknown-deriver' ? undefined : deriver,
    sigs,
    ca: fields.get('CA') || undefined,
  };
}

/**
 * `text`, the narinfo of `info`, as every client can read it; see {@link readLines}. `isEd25519` is whether a key of that name is
 * known to be of that kind.
 */
export function mended(
  text: string,
  info: NarInfo,
  storeDir: string,
  isEd25519: (keyName: string) => boolean = () => false,
): string {
  // Clients end with a failed assertion if another path follows from the CA.
  const isFalse = info.ca !== undefined && !isContentAddressed(info, storeDir);
  // A client that trusts the key stops at such a signature; to others it is worth nothing.
  const wrong = info.sigs.filter((sig) => isEd25519(keyName(sig)) && !isEd25519Sig(sig));
  const unwanted = new Set([...(isFalse ? [`CA: ${info.ca}`] : []), ...wrong.map((sig) => `Sig: ${sig}`)]);
  const left = withoutLines(readLines(text).text, unwanted);
  return info.compression === 'none' ? withFileSize(left, info.narSize) : left;
}

/**
 * Demands that all signatures are such as clients can read, of whoever can write them anew.
 * @throws CacheError `invalid`
 */
export function checkSigLines(text: string): void {
  for (const [, value = ''] of text.matchAll(/^Sig:([^\n]*)$/gm))
    if (!isSig(value.trim())) throw malformed('Sig', value.trim(), 'name:signature in base64');
}

function withoutLines(text: string, unwanted: ReadonlySet<string>): string {
  if (unwanted.size === 0) return text;
  return text
    .split('\n')
    .filter((line) => !unwanted.has(line))
    .join('\n');
}

const BEGINNING = Buffer.from('StorePath: ');

/** Whether a file with these first bytes, of a name that tells nothing, is to be taken for a narinfo: Nix writes no other field first. */
export function beginsLikeNarInfo(head: Buffer): boolean {
  return head.subarray(0, BEGINNING.length).equals(BEGINNING);
}

/** The hash part of the store path that what is left of a narinfo is about; undefined if it does not tell. */
export function hashPartIn(text: string): StoreHash | undefined {
  const hash = /StorePath: \S*\/([^/\s-]{32})(?:-|$)/m.exec(text)?.[1] ?? '';
  return isStoreHash(hash) ? hash : undefined;
}

/** The store of the path that the narinfo with this text is about; undefined if it does not tell. */
export function storeDirIn(text: string): string | undefined {
  return /^StorePath: (\/.*)\/[0-9a-z]{32}-[^/]+$/m.exec(text)?.[1];
}

function required(fields: ReadonlyMap<string, string>, name: string): string {
  return fields.get(name) || fail(new CacheError('invalid', `narinfo has no ${name}`));
}

function narSize(text: string): number {
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(value) && value > 0) return value;
  throw malformed('NarSize', text, 'a number of bytes above 0');
}

function references(text: string): string[] {
  const names = text === '' ? [] : text.split(' ');
  const bad = names.find((name) => !isBasename(name));
  if (bad !== undefined)
    throw malformed('References', bad, 'names of store paths with one space between them');
  return names;
}

function malformed(field: string, found: string, expected: string): CacheError {
  return new CacheError(
    'invalid',
    `narinfo ${field} is ${JSON.stringify(found.slice(0, 200))}, expected ${expected}`,
  );
}

function fail(error: CacheError): never {
  throw error;
}

/** `text`, a mended narinfo, with its URL replaced and an absent Compression spelled out. Signatures cover neither. */
export function withUrl(text: string, url: string): string {
  const replaced = text.replace(/^URL: .*$/m, () => `URL: ${url}`);
  if (/^Compression: ./m.test(replaced)) return replaced;
  return replaced
    .replace(/^Compression: \n/m, '')
    .replace(/^URL: .*$/m, (line) => `${line}\nCompression: bzip2`);
}

/** `text`, a mended narinfo, with the size that its NAR's file has where it tells one. No signature covers that. */
export function withFileSize(text: string, size: number): string {
  return text.replace(/^FileSize: .*$/gm, () => `FileSize: ${size}`);
}

/** `text`, a mended narinfo, with those of `sigs` added that it does not have. */
export function withSigs(text: string, sigs: readonly string[]): string {
  const present = new Set(text.split('\n'));
  const missing = sigs.map((sig) => `Sig: ${sig}`).filter((line) => !present.has(line));
  return text + [...new Set(missing)].map((line) => `${line}\n`).join('');
}
