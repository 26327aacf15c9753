// What the configuration keeps in files of their own: tokens, the key that signs, certificates. Read at the start, and again
// when the operator says so.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { CacheError, describe } from '../errors.ts';
import { readSecretKey, type Signer } from '../nix/signature.ts';
import { parseToken } from './access.ts';
import { checkAuthority } from './certificates.ts';
import type { Config, Right, TlsConfig } from './config.ts';

/** Somebody's token; of the secret only the SHA-256 is kept. */
export interface Token {
  readonly name: string;
  readonly digest: Buffer;
  readonly allow: readonly Right[];
}

/** PEM texts. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Authorities for clients' certificates; undefined if clients need none. */
  readonly clientCa: string | undefined;
}

export interface Secrets {
  readonly tokens: readonly Token[];
  /** Each signs. */
  readonly signers: readonly Signer[];
  readonly tls: TlsFiles | undefined;
}

/**
 * Reads them all.
 * @throws CacheError `config`, which repeats none of them
 */
export async function loadSecrets({ access, signing, tls }: Config): Promise<Secrets> {
  const tokens = await Promise.all(
    access.tokens.map(async ({ name, secret, allow }) => {
      const text = 'token' in secret ? secret.token : await readToken(name, secret.file);
      return { name, digest: digestOf(text), allow };
    }),
  );
  tokens.forEach((one, index) => {
    const same = tokens.findIndex(({ digest }) => digest.equals(one.digest));
    if (same === index) return;
    throw new CacheError('config', `tokens ${tokens[same]?.name} and ${one.name} are the same, expected two`);
  });
  return {
    tokens,
    signers: await Promise.all(
      (signing?.keyFiles ?? []).map((file) => fromFile('signing.key_file', file, readSecretKey)),
    ),
    tls: tls && (await readTls(tls)),
  };
}

/** What tokens are compared by. */
export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function readToken(name: string, file: string): Promise<string> {
  return fromFile(`token_file of ${name}`, file, (text) => parseToken(text.trim()));
}

async function readTls({ certFile, keyFile, clientCaFile }: TlsConfig): Promise<TlsFiles> {
  const cert = await fromFile('tls.cert_file', certFile, pem);
  const key = await fromFile('tls.key_file', keyFile, pem);
  const clientCa =
    clientCaFile === undefined ? undefined : await fromFile('tls.client_ca_file', clientCaFile, authorities);
  try {
    createSecureContext({ cert, key, ca: clientCa });
  } catch (error) {
    throw new CacheError(
      'config',
      `${certFile} and ${keyFile}: expected a certificate and its key in PEM form: ${describe(error)}`,
      error,
    );
  }
  return { cert, key, clientCa };
}

function authorities(text: string): string {
  checkAuthority(pem(text));
  return text;
}

function pem(text: string): string {
  if (/^-----BEGIN /m.test(text)) return text;
  throw new CacheError('config', 'expected PEM');
}

async function fromFile<T>(label: string, file: string, read: (text: string) => T): Promise<T> {
  try {
    return read(await readFile(file, 'utf8'));
  } catch (error) {
    throw new CacheError('config', `${label}, ${file}: ${describe(error)}`, error);
  }
}
