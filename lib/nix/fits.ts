// What a narinfo says of the file of its NAR, and whether two narinfos are about the same.
import { isDecodable } from '../bytes/codings.ts';
import { CacheError } from '../errors.ts';
import { sha256ToHex } from './hash.ts';
import type { NarInfo } from './narinfo.ts';

/** A NAR's file; its SHA-256 is in hexadecimal, if it is known. */
interface NarFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string | undefined;
}

/**
 * Compares what can be compared without unpacking.
 * @throws CacheError `invalid` if they do not belong together
 */
export function checkFits(info: NarInfo, nar: NarFile): void {
  const plain = info.compression === 'none';
  const fits = (field: string, expected: string | number | undefined, found: string | number | undefined) => {
    if (expected === undefined || found === undefined || expected === found) return;
    throw new CacheError('invalid', `narinfo ${field} is ${expected}, but that of ${nar.path} is ${found}`);
  };
  fits('FileSize', info.fileSize, nar.size);
  fits('FileHash', info.fileHash && sha256ToHex(info.fileHash), nar.sha256);
  if (!plain) return;
  fits('NarSize', info.narSize, nar.size);
  fits('NarHash', sha256ToHex(info.narHash), nar.sha256);
}

/**
 * The narinfo without its FileSize where a hash tells whether the file is right: no client looks at that size, and no signature covers
 * it, so a wrong one is no reason to refuse what is right.
 */
export function withoutNeedlessSize(info: NarInfo): NarInfo {
  const isTold = info.fileHash !== undefined || info.compression === 'none' || isDecodable(info.compression);
  return isTold ? { ...info, fileSize: undefined } : info;
}

/** Whether two narinfos are about the same bytes and references: all that signatures cover. */
export function sameContent(a: NarInfo, b: NarInfo): boolean {
  const key = (info: NarInfo) =>
    [info.storePath, info.narHash, info.narSize, ...new Set([...info.references].sort())].join(' ');
  return key(a) === key(b);
}
