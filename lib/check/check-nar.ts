// What a stored NAR is, in itself and beside what its name, its header and a narinfo say of it. Pure, but for the reading.
import { decode, isDecodable } from '../bytes/codings.ts';
import { describe, isCacheError } from '../errors.ts';
import { type Sha256, sha256FromBytes, sha256ToHex } from '../nix/hash.ts';
import { narPromisedBy } from '../nix/nar-names.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { hashInNarName, type NarName } from '../nix/object-name.ts';
import { packingOf, proofOf } from '../nix/packing.ts';
import { Digest } from '../nix/unpacked.ts';
import type { ObjectMeta } from '../store/store.ts';
import type { Inspected } from '../store/upkeep.ts';
import { hashOf } from './body.ts';

export interface NarFacts {
  /** Of the file, and its SHA-256 in hexadecimal; undefined where nobody has read it. */
  readonly size: number;
  readonly sha256: string | undefined;
  readonly unpacked: Unpacked | undefined;
}

/** What is inside, if one unpacks it so. */
interface Unpacked {
  readonly coding: string;
  readonly result: { readonly narHash: Sha256; readonly narSize: number } | { readonly failure: string };
}

/** Reads the body once, and unpacks it meanwhile if it is of a coding that Node knows. */
export async function readNar(object: Inspected, coding: string | undefined): Promise<NarFacts> {
  const { size } = object;
  if (coding === undefined || !isDecodable(coding)) {
    return { size, sha256: (await hashOf(object)).toString('hex'), unpacked: undefined };
  }
  const outer = new Digest();
  const inner = new Digest();
  try {
    for await (const _ of inner.through(decode(coding, outer.through(object.pieces()))));
  } catch (error) {
    if (!isCacheError(error, 'invalid')) throw error;
    // Hashed from the start: it is not known how far the decoder has read.
    const sha256 = (await hashOf(object)).toString('hex');
    return { size, sha256, unpacked: { coding, result: { failure: describe(error) } } };
  }
  const sha256 = outer.size === size ? outer.end() : await hashOf(object);
  const result = { narHash: sha256FromBytes(inner.end()), narSize: inner.size };
  return { size, sha256: sha256.toString('hex'), unpacked: { coding, result } };
}

/** How the file is probably packed, so that it need not be read again when its narinfo comes: by its name, or its first bytes. */
export function guessCoding(name: NarName | undefined, head: Buffer): string | undefined {
  if (name?.endsWith('.br')) return 'br';
  if (name?.endsWith('.zst') || head.subarray(0, 4).equals(ZSTD)) return 'zstd';
  return head.subarray(0, 2).equals(GZIP) ? 'gzip' : undefined;
}

const ZSTD = Buffer.from('28b52ffd', 'hex');
const GZIP = Buffer.from('1f8b', 'hex');

/** What is wrong with the NAR of this name, whatever narinfos say of it; undefined if nothing. */
export function narDamage(
  { sha256, unpacked }: NarFacts,
  name: NarName,
  meta: ObjectMeta | undefined,
): string | undefined {
  if (meta?.sha256 !== undefined && sha256 !== undefined && meta.sha256 !== sha256)
    return `the SHA-256 of its body is ${sha256}, its header says ${meta.sha256}`;
  const found = sha256 ?? meta?.sha256;
  const promised = hashInNarName(name);
  if (promised !== undefined && found !== undefined && proof({ sha256: found, unpacked }, name) === undefined)
    return `its SHA-256 is ${found}, its name says ${sha256ToHex(promised)}`;
  const inside = narPromisedBy(name);
  if (inside === undefined || unpacked?.coding !== inside.compression) return undefined;
  if ('failure' in unpacked.result) return `it ${unpacked.result.failure}`;
  if (unpacked.result.narHash === inside.narHash) return undefined;
  return `its NarHash is ${unpacked.result.narHash}, its name says ${inside.narHash}`;
}

function proof({ sha256, unpacked }: Pick<NarFacts, 'unpacked'> & { sha256: string }, name: NarName) {
  const packing = unpacked?.coding ?? packingOf(name, Buffer.alloc(0));
  const result = unpacked?.result;
  const narHash = result === undefined ? undefined : 'failure' in result ? 'wrong' : result.narHash;
  return proofOf(name, { packing, fileHash: sha256FromBytes(Buffer.from(sha256, 'hex')), narHash });
}

/** Whether the name says what the bytes must be, and they are: then the file is right whatever narinfos say. */
export function isProven(name: NarName, { sha256, unpacked }: NarFacts): boolean {
  if (narPromisedBy(name) !== undefined) return true;
  const found = sha256 === undefined ? undefined : proof({ sha256, unpacked }, name);
  return found === 'file' || found === 'nar';
}

interface Difference {
  /** Whether it is about what signatures cover. */
  readonly signed: boolean;
  readonly reason: string;
}

/** Where the narinfo and the NAR that it names do not agree; undefined if they do, as far as that can be told. */
export function difference(info: NarInfo, { sha256, size, unpacked }: NarFacts): Difference | undefined {
  const differ = (field: string, said: string | number | undefined, found: string | number | undefined) =>
    said === undefined || found === undefined || said === found
      ? undefined
      : {
          signed: field.startsWith('Nar'),
          reason: `its ${field} is ${said}, but that of its NAR is ${found}`,
        };
  const hash = sha256 === undefined ? undefined : sha256FromBytes(Buffer.from(sha256, 'hex'));
  const plain = info.compression === 'none';
  const inside = plain ? { narHash: hash, narSize: size } : insideOf(info, unpacked);
  const failure = inside !== undefined && 'failure' in inside ? inside.failure : undefined;
  if (failure !== undefined) return { signed: false, reason: `its NAR ${failure}` };
  const { narHash, narSize } = (inside ?? {}) as { narHash?: Sha256; narSize?: number };
  // A wrong FileSize beside a right hash does no harm: no client looks at it.
  const isTold = (info.fileHash !== undefined && hash !== undefined) || narHash !== undefined;
  return (
    (isTold ? undefined : differ('FileSize', info.fileSize, size)) ??
    differ('FileHash', info.fileHash, hash) ??
    differ('NarSize', info.narSize, narSize) ??
    differ('NarHash', info.narHash, narHash)
  );
}

function insideOf(info: NarInfo, unpacked: Unpacked | undefined): Unpacked['result'] | undefined {
  return unpacked?.coding === info.compression ? unpacked.result : undefined;
}
