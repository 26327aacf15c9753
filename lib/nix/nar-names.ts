// What NARs are called. A name from elsewhere proves nothing: its 52 digits may be the hash of the file or of what is packed in
// it, and many names are no hash at all. So there are two of our own: the one under which a NAR is stored, which fixes its
// bytes, and the address that clients get, which leads back to the narinfo and ends as its coding does.
import { CacheError } from '../errors.ts';
import { type Compression, compressionBy, endingOf, extensionOf } from './compression.ts';
import { isSha256, type Sha256 } from './hash.ts';
import type { NarInfo } from './narinfo.ts';
import { hashInNarName, isNarName, type NarName } from './object-name.ts';
import { isStoreHash, type StoreHash } from './store-path.ts';

/**
 * The name under which the NAR of an upstream's narinfo is stored: the file's hash where the narinfo tells it (for an
 * uncompressed NAR the NarHash is that), so that paths with the same contents share it; else the store path's hash with the
 * NarHash, so that two upstreams which use one name for different files never share an entry. Its ending tells how it is packed.
 */
export function storedNarName(info: NarInfo): NarName {
  const fileHash = info.fileHash ?? (info.compression === 'none' ? info.narHash : undefined);
  if (fileHash !== undefined) return hashName(fileHash, info.compression);
  return `${info.hashPart}-${info.narHash}.nar${extensionOf(info.compression)}` as NarName;
}

function hashName(digits: Sha256, compression: Compression): NarName {
  return `${digits}.nar${compression === 'none' ? '' : extensionOf(compression)}` as NarName;
}

/** What other caches call a file with such a hash as its name: Nix gives some packings no ending. */
export function nixNarName(name: NarName): NarName {
  const [, digits = '', ending = ''] = /^([0-9a-z]{52})\.nar(\.\w+)$/.exec(name) ?? [];
  const compression = compressionBy(ending);
  return isSha256(digits) && compression !== undefined
    ? (`${digits}.nar${endingOf(compression)}` as NarName)
    : name;
}

/**
 * Where clients find the NAR of a narinfo, below `nar/`: nix-serve's form. Clients that are not Nix tell the coding by its end, and
 * it has no query, which caches in front drop.
 */
export function addressOf({ compression, fileHash, hashPart, narHash }: NarInfo): NarName {
  const ending = compression === 'none' ? '' : extensionOf(compression);
  return `${hashPart}-${fileHash ?? narHash}.nar${ending}` as NarName;
}

/** What such an address tells: its digits, and how the file is packed; undefined for any other name. */
export function partsOfAddress(address: NarName): { digits: Sha256; compression: Compression } | undefined {
  const [, digits = '', ending = ''] = /^[0-9a-z]{32}-([0-9a-z]{52})\.nar(\.\w+)?$/.exec(address) ?? [];
  const compression = ending === '' ? 'none' : compressionBy(ending);
  return isSha256(digits) && compression !== undefined ? { digits, compression } : undefined;
}

/** Whether the name says which bytes it means, by the hash of the file or of what is packed in it. */
export function fixesBytes(name: NarName): boolean {
  return hashInNarName(name) !== undefined || partsOfAddress(name) !== undefined;
}

/** The names under which what has such an address may be stored; undefined for any other name. */
export function namesBehind(address: NarName): [byFileHash: NarName, byNarHash: NarName] | undefined {
  const parts = partsOfAddress(address);
  return parts && [hashName(parts.digits, parts.compression), address];
}

/**
 * The names under which what is asked for by this one may be stored, as far as that can be told without a narinfo. Where its digits
 * are the file's hash it is the first of them, where they are the NarHash the second, and nothing else is ever stored there:
 * how often the same NAR was packed in different ways, no two of these files share a name.
 */
export function namesFor(name: NarName, hash: StoreHash | undefined): [NarName, ...NarName[]] {
  const [plain, address] = namesBehind(name) ?? [name.replace(/^narhash-(?=[0-9a-z]{52}\.)/, '') as NarName];
  // Without compression, FileHash and NarHash are the same.
  if (hashInNarName(plain) === undefined || partsOfAddress(name)?.compression === 'none') return [plain];
  const proven = withPacking(plain);
  const withoutPath = `narhash-${proven}` as NarName;
  if (hash === undefined) return [plain, withoutPath];
  return [plain, address ?? (`${hash}-${proven}` as NarName), withoutPath];
}

/**
 * Of the packings that Nix gives no ending, gzip is the only one that can be unpacked here, so the only one that is ever known by
 * the hash of what is in it.
 */
function withPacking(plain: NarName): string {
  return plain.endsWith('.nar') ? `${plain}${extensionOf('gzip')}` : plain;
}

/** What others may call the NAR of this narinfo, in an index of debug information or in their own narinfos. */
export function otherNamesOf(info: NarInfo): NarName[] {
  const byNarHash = namesFor(addressOf({ ...info, fileHash: undefined }), info.hashPart);
  const stored = storedNarName(info);
  const names = [addressOf(info), stored, nixNarName(stored), ...byNarHash, narNameIn(info.url)];
  return [...new Set(names)].filter((name) => name !== undefined);
}

/** Whether a name that came with the store hash of this narinfo means its NAR, which is stored as `narName`. */
export function isNameOf(name: NarName, { info, narName }: { info: NarInfo; narName: NarName }): boolean {
  if (name === narName || name === addressOf(info)) return true;
  // For an address made of the NarHash, any file packed that way with that NAR inside is right.
  const addresses = [addressOf(info), addressOf({ ...info, fileHash: undefined })];
  const names = addresses.flatMap((address) => namesBehind(address) ?? []);
  return names.some((one) => name === one || name === nixNarName(one));
}

/** What is in a file that is stored under this name, where that is made of the NarHash. */
export function narPromisedBy(
  name: NarName,
): (Pick<NarInfo, 'compression'> & { readonly narHash: Sha256 }) | undefined {
  const [, path = '', narHash = '', extension = ''] = /^(\w+)-(\w+)\.nar(\.\w+)$/.exec(name) ?? [];
  const compression = compressionBy(extension);
  const isOurs = isStoreHash(path) || path === 'narhash';
  if (!isOurs || !isSha256(narHash) || compression === undefined) return undefined;
  return { compression, narHash };
}

/**
 * The name under which the NAR of a stored narinfo lies: the one in its URL where that is ours, as in what was pushed (`push`) and
 * in what is of unknown origin (`unknown`); else {@link storedNarName}.
 */
export function narNameOf(info: NarInfo, origin: string): NarName {
  const ownName = origin === 'push' || origin === 'unknown';
  return (ownName ? narNameIn(info.url) : undefined) ?? storedNarName(info);
}

/**
 * The NAR's name in a narinfo as clients push it; our own former `?hash=` may stand behind it.
 * @throws CacheError `invalid`
 */
export function pushedNarName({ url }: NarInfo): NarName {
  const name = narNameIn(url.replace(/(?:\?|%3F)hash=[0-9a-z]{32}$/i, ''));
  if (name !== undefined) return name;
  const found = JSON.stringify(url.slice(0, 200));
  throw new CacheError('invalid', `expected a narinfo URL of the form nar/<name>, found ${found}`);
}

/** The NAR's name in a URL as pushed narinfos and most caches have it, `nar/<name>`. */
function narNameIn(url: string): NarName | undefined {
  const name = /^nar\/([^/?]+)$/.exec(url)?.[1] ?? '';
  return isNarName(name) ? name : undefined;
}
