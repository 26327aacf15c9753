// How a NAR's file is packed, where no narinfo tells, and what its name alone promises: 52 digits are the hash of the file, or of
// the NAR in it.
import { type Compression, compressionBy } from './compression.ts';
import type { Sha256 } from './hash.ts';
import { hashInNarName, type NarName } from './object-name.ts';

/** How the files of each coding begin whose names may not tell it: Nix has endings for the usual ones only. */
const BEGINNINGS: readonly (readonly [Compression, string])[] = [
  ['bzip2', '425a68'],
  ['compress', '1f9d'],
  ['grzip', '47525a6970'],
  ['gzip', '1f8b'],
  ['lrzip', '4c525a49'],
  ['lz4', '04224d18'],
  ['lzip', '4c5a4950'],
  ['lzma', '5d0000'],
  ['lzop', '894c5a4f'],
  ['xz', 'fd377a585a00'],
  ['zstd', '28b52ffd'],
];

/** Enough of a file for {@link packingOf}. */
export const TELLING_BYTES = 8;

/** Tells by the ending of the name, or by the file's first bytes; undefined if it has an ending that nobody knows. */
export function packingOf(name: NarName, head: Buffer): Compression | undefined {
  const ending = /\.nar(\.\w+)?$/.exec(name)?.[1];
  if (ending !== undefined) return compressionBy(ending);
  return BEGINNINGS.find(([, hex]) => begins(head, hex))?.[0] ?? 'none';
}

function begins(head: Buffer, hex: string): boolean {
  const beginning = Buffer.from(hex, 'hex');
  return head.subarray(0, beginning.length).equals(beginning);
}

/** What was found out about a NAR's file. */
export interface NarFile {
  readonly packing: string | undefined;
  readonly fileHash: Sha256;
  /** Undefined where it could not be unpacked here; `wrong` if it is not what its packing makes. */
  readonly narHash: Sha256 | 'wrong' | undefined;
}

/**
 * Which of the two the digits in the name are; `unproven` if that can't be told, also of a name that is no hash; undefined if they
 * are neither.
 */
export function proofOf(name: NarName, file: NarFile): 'file' | 'nar' | 'unproven' | undefined {
  const promised = hashInNarName(name);
  if (promised === undefined) return 'unproven';
  if (file.fileHash === promised) return 'file';
  if (file.narHash === promised) return 'nar';
  const isTold = file.narHash !== undefined || file.packing === 'none';
  return isTold ? undefined : 'unproven';
}
