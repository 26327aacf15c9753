// Content-addressed store paths: their name follows from their content, so no signature need vouch for them. Paths
// are made as in nix/src/libstore/store-dir-config.cc (makeTextPath, makeFixedOutputPath).
import { createHash } from 'node:crypto';
import { type Digest, parseDigest, sha256FromBytes } from './hash.ts';
import type { NarInfo } from './narinfo.ts';
import { encodeNix32 } from './nix32.ts';

/** Bytes of the hash in a store path. */
const PATH_HASH_BYTES = 20;

/** `text:<algorithm>:<digits>` or `fixed:[r:|git:]<algorithm>:<digits>`; SRI is none of its forms. */
const FORM = /^(text:|fixed:r:|fixed:git:|fixed:)([a-z0-9]+:\S+)$/;

export type AddressMethod = 'text:' | 'fixed:' | 'fixed:r:' | 'fixed:git:';

/** What a CA field says; undefined if it can't be read. */
export function contentAddressOf(
  text: string | undefined,
): { readonly method: AddressMethod; readonly digest: Digest } | undefined {
  const [, method, hash = ''] = FORM.exec(text ?? '') ?? [];
  const digest = parseDigest(hash);
  return digest && { method: method as AddressMethod, digest };
}

/** Whether a CA field can be read by every client: one of the forms, with a hash of an algorithm that all of them know. */
export function isContentAddress(text: string): boolean {
  const { digest, method } = contentAddressOf(text) ?? {};
  if (digest === undefined || digest.algorithm === 'blake3') return false;
  return method !== 'text:' || digest.algorithm === 'sha256';
}

/**
 * Whether the narinfo's CA field gives its store path, and agrees with its NarHash where the two are of the same
 * bytes.
 */
export function isContentAddressed(info: NarInfo, storeDir: string): boolean {
  const address = contentAddressOf(info.ca);
  if (address === undefined) return false;
  const { digest, method } = address;
  const own = info.storePath.slice(storeDir.length + 1);
  const refersToItself = info.references.includes(own);
  const others = [...new Set(info.references)].filter((name) => name !== own).sort();
  const references = others.map((name) => `:${storeDir}/${name}`).join('');
  const path = (type: string, inner: Digest) => makePath(type, inner, own.slice(33), storeDir);

  if (method === 'text:') {
    return digest.algorithm === 'sha256' && !refersToItself && path(`text${references}`, digest) === own;
  }
  if (method === 'fixed:r:' && digest.algorithm === 'sha256') {
    // A path that names itself is hashed with its own hash left out, which can't be compared.
    if (!refersToItself && sha256FromBytes(digest.bytes) !== info.narHash) return false;
    return path(`source${references}${refersToItself ? ':self' : ''}`, digest) === own;
  }
  if (info.references.length > 0) return false;
  const how = method.slice('fixed:'.length);
  const fixed = `fixed:out:${how}${digest.algorithm}:${digest.bytes.toString('hex')}:`;
  return path('output:out', { algorithm: 'sha256', bytes: sha256(fixed) }) === own;
}

/** The basename of the path of this type: a hash of everything about it, folded to 20 bytes, before its name. */
function makePath(type: string, inner: Digest, name: string, storeDir: string): string {
  const whole = sha256(`${type}:${inner.algorithm}:${inner.bytes.toString('hex')}:${storeDir}:${name}`);
  const folded = Buffer.alloc(PATH_HASH_BYTES);
  for (const [i, byte] of whole.entries()) {
    const at = i % PATH_HASH_BYTES;
    folded[at] = (folded[at] as number) ^ byte;
  }
  return `${encodeNix32(folded)}-${name}`;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
