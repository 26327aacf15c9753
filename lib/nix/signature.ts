// Signatures of narinfos: Ed25519 over a fingerprint of what matters in them (nix/src/libstore/path-info.cc). URL,
// Compression, FileHash, FileSize, Deriver and CA are not in it, so a cache may change those.
import { createPublicKey, type KeyObject, verify as verifyBytes } from 'node:crypto';
import type { NarInfo } from './narinfo.ts';

declare const publicKey: unique symbol;
/** A public key as Nix writes it: `name:base64`. */
export type PublicKey = string & { readonly [publicKey]: true };

/** Public keys, ready to verify with. */
export type Keys = readonly { readonly name: string; readonly key: KeyObject }[];

const KEY_BYTES = 32;
/** What stands before the key in DER (RFC 8410): an SPKI that says Ed25519. */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** Whether `text` is a public key. */
export function isPublicKey(text: string): text is PublicKey {
  const [, base64 = ''] = /^[^:\s]+:(\S+)$/.exec(text) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length === KEY_BYTES && bytes.toString('base64') === base64;
}

/** The keys, ready to verify with. */
export function readKeys(keys: readonly PublicKey[]): Keys {
  return keys.map((text) => {
    const [name, base64] = split(text);
    const der = Buffer.concat([SPKI, Buffer.from(base64, 'base64')]);
    return { name, key: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
  });
}

/** What signatures are made of, for a path in `storeDir`. */
export function fingerprint(info: NarInfo, storeDir: string): string {
  const references = [...new Set(info.references)].sort().map((name) => `${storeDir}/${name}`);
  return `1;${info.storePath};sha256:${info.narHash};${info.narSize};${references.join(',')}`;
}

/** The name of the first of the keys that has signed the narinfo; undefined if none has. */
export function verify(info: NarInfo, keys: Keys, storeDir: string): string | undefined {
  const signed = Buffer.from(fingerprint(info, storeDir));
  for (const sig of info.sigs) {
    const [name, base64] = split(sig);
    const bytes = Buffer.from(base64, 'base64');
    // Two keys may share a name while one replaces the other.
    if (keys.some((one) => one.name === name && verifyBytes(null, signed, one.key, bytes))) return name;
  }
  return undefined;
}

/** The name of the key that a signature, or a public key, is of. */
export function keyName(text: string): string {
  return split(text)[0];
}

function split(text: string): [name: string, base64: string] {
  const colon = text.indexOf(':');
  return [text.slice(0, colon), text.slice(colon + 1)];
}
