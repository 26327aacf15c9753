// Signatures of narinfos: Ed25519 over a fingerprint of what matters in them (nix/src/libstore/path-info.cc). URL,
// Compression, FileHash, FileSize, Deriver and CA are not in it, so a cache may change those.
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign as signBytes,
  verify as verifyBytes,
} from 'node:crypto';
import { CacheError } from '../errors.ts';
import { isContentAddressed } from './content-address.ts';
import type { NarInfo } from './narinfo.ts';
import { keyName } from './sig.ts';

declare const publicKey: unique symbol;
/** A public key as Nix writes it: `name:base64`. */
export type PublicKey = string & { readonly [publicKey]: true };

/** Public keys, ready to verify with. */
export type Keys = readonly { readonly name: string; readonly key: KeyObject }[];

/** A secret key, ready to sign with. */
export interface Signer {
  /** As clients need it in `trusted-public-keys`. */
  readonly publicKey: PublicKey;
  /** The signature of a narinfo of a path in `storeDir`: the same every time. */
  sign(info: NarInfo, storeDir: string): string;
  /** The signature of a text. */
  signText(text: string): string;
}

const KEY_BYTES = 32;
/** Signatures of a narinfo that are tried: it has room for ten thousand, which would take a second. */
const MAX_TRIED = 100;
/** Names of keys that an error tells, and how much of each: a narinfo has room for a name of a megabyte. */
const MAX_NAMED = 10;
const MAX_NAME = 100;
/** What stands before the key in DER (RFC 8410): an SPKI, and a PKCS #8, that say Ed25519. */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
/** What Nix can read, in a file and in a narinfo. */
const KEY_NAME = /^[^:\s]+$/;

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

/**
 * Reads a secret key as Nix writes it, `name:base64` of seed and public key; white space around it is ignored.
 * @throws CacheError `invalid`, which does not repeat it
 */
export function readSecretKey(text: string): Signer {
  // Without a colon there is no name, and all of the text is secret.
  const [, name = '', base64 = ''] = /^([^:\s]+):(\S*)$/.exec(text.trim()) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length !== 2 * KEY_BYTES || bytes.toString('base64') !== base64) {
    throw new CacheError('invalid', 'expected a secret key "name:base64", the base64 of 64 bytes');
  }
  const signer = signerOf(name, bytes.subarray(0, KEY_BYTES));
  if (signer.publicKey !== `${name}:${bytes.subarray(KEY_BYTES).toString('base64')}`) {
    throw new CacheError('invalid', `the two halves of the secret key ${name} do not belong together`);
  }
  return signer;
}

/**
 * A new key pair; both as Nix writes them.
 * @throws CacheError `invalid` for a name that Nix can't read
 */
export function generateKeys(name: string): { secretKey: string; publicKey: PublicKey } {
  if (!KEY_NAME.test(name)) {
    throw new CacheError('invalid', 'expected a name without colons and spaces, such as cache.example.org-1');
  }
  const seed = randomBytes(KEY_BYTES);
  const { publicKey } = signerOf(name, seed);
  const [, base64] = split(publicKey);
  const secretKey = `${name}:${Buffer.concat([seed, Buffer.from(base64, 'base64')]).toString('base64')}`;
  return { secretKey, publicKey };
}

function signerOf(name: string, seed: Buffer): Signer {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const signText = (text: string) => `${name}:${signBytes(null, Buffer.from(text), key).toString('base64')}`;
  return {
    publicKey: `${name}:${spki.subarray(SPKI.length).toString('base64')}` as PublicKey,
    sign: (info, storeDir) => signText(fingerprint(info, storeDir)),
    signText,
  };
}

/** What signatures are made of, for a path in `storeDir`. */
export function fingerprint(info: NarInfo, storeDir: string): string {
  const references = [...new Set(info.references)].sort().map((name) => `${storeDir}/${name}`);
  return `1;${info.storePath};sha256:${info.narHash};${info.narSize};${references.join(',')}`;
}

/** The name of the first of the keys that has signed the narinfo; undefined if none has. */
export function verify(info: NarInfo, keys: Keys, storeDir: string): string | undefined {
  return verifyText(fingerprint(info, storeDir), info.sigs, keys);
}

/** The same of any text. */
export function verifyText(text: string, sigs: readonly string[], keys: Keys): string | undefined {
  const signed = Buffer.from(text);
  const names = new Set(keys.map((key) => key.name));
  const ours = sigs.filter((sig) => names.has(keyName(sig)));
  for (const sig of ours.slice(0, MAX_TRIED)) {
    const [name, base64] = split(sig);
    const bytes = Buffer.from(base64, 'base64');
    // Two keys may share a name while one replaces the other.
    if (keys.some((one) => one.name === name && verifyBytes(null, signed, one.key, bytes))) return name;
  }
  return undefined;
}

/** Whether one of the keys has signed it, or nobody need have: there are none, or its path follows from its content. */
export function isVouchedFor(info: NarInfo, keys: Keys, storeDir: string): boolean {
  return (
    keys.length === 0 || isContentAddressed(info, storeDir) || verify(info, keys, storeDir) !== undefined
  );
}

/** @throws CacheError `invalid` if not {@link isVouchedFor} */
export function checkVouchedFor(info: NarInfo, keys: Keys, storeDir: string): void {
  if (!isVouchedFor(info, keys, storeDir)) checkSigned(info, keys, storeDir);
}

/** @throws CacheError `invalid` if keys are demanded and none of them has signed */
export function checkSigned(info: NarInfo, keys: Keys, storeDir: string): void {
  if (keys.length === 0 || verify(info, keys, storeDir) !== undefined) return;
  const expected = [...new Set(keys.map(({ name }) => name))].join(' or ');
  const names = [...new Set(info.sigs.map(keyName))];
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '';
  const named = names.slice(0, MAX_NAMED).map((name) => name.slice(0, MAX_NAME));
  const found = names.length === 0 ? 'none' : named.join(', ') + more;
  throw new CacheError('invalid', `expected a signature of ${expected} that verifies, found ${found}`);
}

function split(text: string): [name: string, base64: string] {
  const colon = text.indexOf(':');
  return [text.slice(0, colon), text.slice(colon + 1)];
}
