// narinfo: what a cache says about one store path. Parsing is at least as strict as the strictest client, because
// a client stops with an error, not with a miss, on what it can't parse (nix/src/libstore/nar-info.cc).
import { CacheError } from '../errors.ts';
import { type Compression, compressionBy, endingOf, extensionOf, isCompression } from './compression.ts';
import { isSha256, parseHash, type Sha256 } from './hash.ts';
import { isNarName, type NarName } from './object-name.ts';
import { basenameIn, hashPartOf, isBasename, isStoreHash, type StoreHash } from './store-path.ts';

export interface NarInfo {
  readonly storePath: string;
  readonly hashPart: StoreHash;
  /** As written: an opaque reference, relative to the cache it came from. */
  readonly url: string;
  readonly compression: Compression;
  readonly fileHash: Sha256 | undefined;
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

const SINGLE = new Set([
  ...['StorePath', 'URL', 'Compression', 'FileHash', 'FileSize', 'NarHash', 'NarSize'],
  ...['References', 'Deriver', 'CA'],
]);
const SIG = /^[^:\s]+:(?:[0-9A-Za-z+/]{4}){21}[0-9A-Za-z+/]{2}==$/;
const CA = /^(?:text:|fixed:(?:r:|git:)?)[a-z0-9]+:[0-9A-Za-z+/=]+$/;

/**
 * Reads the narinfo in `text`, of a path in `storeDir`.
 * @throws CacheError `invalid`, with the line at fault
 */
export function parseNarInfo(text: string, storeDir: string): NarInfo {
  const { fields, sigs } = parseLines(text);
  const storePath = required(fields, 'StorePath');
  const basename = basenameIn(storeDir, storePath);
  if (basename === undefined) throw malformed('StorePath', storePath, `a store path in ${storeDir}`);
  const url = required(fields, 'URL');
  if (/[^\x21-\x7e]/.test(url)) throw malformed('URL', url, 'a URL without spaces');
  const compression = fields.get('Compression') || 'bzip2';
  if (!isCompression(compression))
    throw malformed('Compression', compression, 'a compression that Nix knows');
  const narHashText = required(fields, 'NarHash');
  const narHash = parseHash(narHashText);
  if (narHash === undefined || narHash === 'other')
    throw malformed('NarHash', narHashText, 'sha256:… or sha256-…');
  const fileHashText = fields.get('FileHash') || undefined;
  const fileHash = fileHashText === undefined ? undefined : parseHash(fileHashText);
  if (fileHashText !== undefined && fileHash === undefined)
    throw malformed('FileHash', fileHashText, 'sha256:…');
  const deriver = fields.get('Deriver') || undefined;
  if (deriver !== undefined && deriver !== 'unknown-deriver' && !isBasename(deriver)) {
    throw malformed('Deriver', deriver, 'the name of a store path');
  }
  const ca = fields.get('CA') || undefined;
  if (ca !== undefined && !CA.test(ca)) throw malformed('CA', ca, 'text:sha256:… or fixed:…');
  return {
    storePath,
    hashPart: hashPartOf(basename),
    url,
    compression,
    fileHash: fileHash === 'other' ? undefined : fileHash,
    fileSize: size(fields, 'FileSize') || undefined,
    narHash,
    narSize:
      size(fields, 'NarSize') || fail(malformed('NarSize', fields.get('NarSize') ?? '', 'a size above 0')),
    references: references(fields.get('References') ?? ''),
    deriver: deriver === 'unknown-deriver' ? undefined : deriver,
    sigs,
    ca,
  };
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

function parseLines(text: string): { fields: Map<string, string>; sigs: string[] } {
  if (!text.endsWith('\n'))
    throw new CacheError('invalid', 'narinfo does not end with a newline: it is empty or cut off');
  const fields = new Map<string, string>();
  const sigs: string[] = [];
  for (const line of text.slice(0, -1).split('\n')) {
    const match = /^([^:\s]+): ([^\p{Cc}\p{Zl}\p{Zp}]*)$/u.exec(line);
    if (!match)
      throw new CacheError(
        'invalid',
        `narinfo line is not "Name: value": ${JSON.stringify(line.slice(0, 100))}`,
      );
    const [, name, value] = match as unknown as [string, string, string];
    if (name === 'Sig') {
      if (!SIG.test(value)) throw malformed('Sig', value, 'name:signature of 64 bytes in base64');
      sigs.push(value);
    } else if (SINGLE.has(name)) {
      if (fields.has(name)) throw new CacheError('invalid', `narinfo has more than one ${name}`);
      fields.set(name, value);
    }
  }
  return { fields, sigs };
}

function required(fields: Map<string, string>, name: string): string {
  return fields.get(name) || fail(new CacheError('invalid', `narinfo has no ${name}`));
}

function size(fields: Map<string, string>, name: string): number | undefined {
  const text = fields.get(name) || undefined;
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value))
    throw malformed(name, text, 'a number of bytes');
  return value;
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

/**
 * The name under which this service serves the NAR. It fixes the bytes: the file's hash where the narinfo tells it
 * (for an uncompressed NAR the NarHash is that), else the store path's hash with the NarHash, so that two upstreams
 * which use one name for different files never share an entry.
 */
export function servedNarName(info: NarInfo): NarName {
  const fileHash = info.fileHash ?? (info.compression === 'none' ? info.narHash : undefined);
  if (fileHash !== undefined) return `${fileHash}.nar${endingOf(info.compression)}` as NarName;
  return `${info.hashPart}-${info.narHash}.nar${extensionOf(info.compression)}` as NarName;
}

/** What is in a file that is served under this name for that store path, where the name is made of the NarHash. */
export function narPromisedBy(
  name: NarName,
  hashPart: StoreHash,
): Pick<NarInfo, 'compression' | 'narHash'> | undefined {
  const [, path, narHash = '', extension = ''] = /^(\w+)-(\w+)\.nar(\.\w+)$/.exec(name) ?? [];
  const compression = compressionBy(extension);
  if (path !== hashPart || !isSha256(narHash) || compression === undefined) return undefined;
  return { compression, narHash };
}

/**
 * The name of the NAR of a stored narinfo: the one in its URL where that is ours, as in what was pushed (`push`) and in what
 * the Go service kept (`unknown`); else the one under which we serve it.
 */
export function narNameOf(info: NarInfo, origin: string): NarName {
  const ownName = origin === 'push' || origin === 'unknown';
  return (ownName ? narNameIn(info.url) : undefined) ?? servedNarName(info);
}

/**
 * The NAR's name in a narinfo as clients push it; our own `?hash=` may stand behind it.
 * @throws CacheError `invalid`
 */
export function pushedNarName({ url }: NarInfo): NarName {
  const name = narNameIn(url.replace(/\?hash=[0-9a-z]{32}$/, ''));
  if (name !== undefined) return name;
  const found = JSON.stringify(url.slice(0, 200));
  throw new CacheError('invalid', `expected a narinfo URL of the form nar/<name>, found ${found}`);
}

/** The NAR's name in a URL as pushed narinfos and most caches have it, `nar/<name>`. */
function narNameIn(url: string): NarName | undefined {
  const name = /^nar\/([^/?]+)$/.exec(url)?.[1] ?? '';
  return isNarName(name) ? name : undefined;
}

/** `text`, a valid narinfo, with its URL replaced and an absent Compression spelled out. Signatures cover neither. */
export function withUrl(text: string, url: string): string {
  const replaced = text.replace(/^URL: .*$/m, () => `URL: ${url}`);
  if (/^Compression: ./m.test(replaced)) return replaced;
  return replaced
    .replace(/^Compression: \n/m, '')
    .replace(/^URL: .*$/m, (line) => `${line}\nCompression: bzip2`);
}

/** `text`, a valid narinfo, with those of `sigs` added that it does not have. */
export function withSigs(text: string, sigs: readonly string[]): string {
  const present = new Set(text.split('\n'));
  const missing = sigs.map((sig) => `Sig: ${sig}`).filter((line) => !present.has(line));
  return text + [...new Set(missing)].map((line) => `${line}\n`).join('');
}

/** `text`, a valid narinfo, without this signature. */
export function withoutSig(text: string, sig: string): string {
  const line = `Sig: ${sig}`;
  return text
    .split('\n')
    .filter((one) => one !== line)
    .join('\n');
}
