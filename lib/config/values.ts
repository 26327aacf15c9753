// Strings of the configuration → what they stand for. Every function takes the text as written and throws a
// `config` error that says what it found and expected.

import { isIP, isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { CacheError } from '../errors.ts';
import { isPublicKey, type PublicKey } from '../nix/signature.ts';
import { parseUrl } from '../url.ts';
import type { Credentials } from './proxy.ts';
import { show } from './show.ts';

/** Where to listen; without a host, on all interfaces. Port 0 lets the system choose. */
export interface Listen {
  readonly host: string | undefined;
  readonly port: number;
}

/** Reads `:8080`, `8080`, `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`. */
export function parseListen(text: string): Listen {
  const expected = '"[host]:port" such as ":8080", "127.0.0.1:8080" or "[::1]:8080"';
  const parts = /^(?:(?:\[([^[\]]*)\]|([^:[\]]*)):)?(\d{1,9})$/.exec(text);
  if (parts === null) throw unexpected(text, expected);
  const [, v6, name, digits] = parts;
  const port = Number(digits);
  if (port > 65535) throw unexpected(text, `${expected} with a port from 0 to 65535`);
  if (v6 !== undefined && !isIPv6(v6)) throw unexpected(text, `${expected} with an IPv6 address in brackets`);
  if (name && !isHost(name)) throw unexpected(text, `${expected} with an address or a host name`);
  return { host: v6 ?? (name || undefined), port };
}

/** What the URL of an upstream says: the normalised URL without its credentials, and these apart. */
interface UpstreamUrl {
  readonly url: string;
  readonly credentials: Credentials | undefined;
}

const LONGEST_URL = 300;

/** Reads the URL of an upstream: no slash at its end, no default port, scheme and host in lower case. */
export function parseUpstreamUrl(text: string): UpstreamUrl {
  const expected = 'a URL such as "https://cache.nixos.org"';
  // URL() would accept all of these: "https:host", "https:\host", and spaces and line ends anywhere.
  if (!/^https?:\/\/[^/?#]/i.test(text)) throw unexpected(text, `${expected}, with http:// or https://`);
  if (/[\s\p{Cc}\\]/u.test(text)) throw unexpected(text, `${expected}, without spaces or backslashes`);
  const url = parseUrl(text);
  if (url === undefined) throw unexpected(text, `${expected}, with a valid host and port`);
  if (/[?#]/.test(text)) throw unexpected(text, `${expected}, without a query or a fragment`);
  if (url.port === '0') throw unexpected(text, `${expected}, with a port from 1 to 65535`);
  const normalised = (url.origin + url.pathname).replace(/\/+$/, '');
  if (normalised.length > LONGEST_URL) {
    const found = `found a URL of ${normalised.length} characters`;
    throw new CacheError('config', `${found}, expected at most ${LONGEST_URL}`);
  }
  if (url.username === '' && url.password === '') return { url: normalised, credentials: undefined };
  const [username, password] = [decoded(url.username), decoded(url.password)];
  if (username === undefined || password === undefined || username.includes(':')) {
    const rule = 'user and password percent-encoded, no colon in the user, no control characters';
    throw unexpected(text, `${expected}, or "https://user:password@host" with ${rule}`);
  }
  return { url: normalised, credentials: { username, password } };
}

/** Reads the path of a file or folder; a relative one is taken from `folder`. */
export function parsePath(text: string, folder: string): string {
  if (text === '' || text.includes('\0')) throw unexpected(text, 'a path');
  return resolve(folder, text);
}

/** Reads the folder that Nix keeps its store in, on the clients. It stands in store paths, letter for letter. */
export function parseStoreDir(text: string): string {
  if (!/^(?:\/(?!\.{1,2}(?:\/|$))[^/\p{Cc}]+)+$/u.test(text)) {
    throw unexpected(
      text,
      'an absolute path such as "/nix/store", without "." or ".." or a slash at its end',
    );
  }
  return text;
}

const MILLISECONDS = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);
const DAY_MS = 86_400_000;

/** Reads `300ms`, `20s`, `5m`, `1h` or `7d`, of at least `least` milliseconds. A timer can be set to 24 days. */
export function parseDuration(text: string, least: number, longest: '24d' | '3650d' = '24d'): number {
  const [, digits = '', unit = ''] = /^(\d{1,10})(ms|s|m|h|d)$/.exec(text) ?? [];
  const duration = digits === '' ? Number.NaN : Number(digits) * (MILLISECONDS.get(unit) ?? Number.NaN);
  if (duration >= least && duration <= Number.parseInt(longest, 10) * DAY_MS) return duration;
  throw unexpected(
    text,
    `a duration such as "300ms", "20s", "5m", "1h" or "7d", from "${least}ms" to "${longest}"`,
  );
}

const UNITS = new Map([
  ...['B', 'KiB', 'MiB', 'GiB', 'TiB'].map((unit, power) => [unit, 1024 ** power] as const),
  ...['kB', 'MB', 'GB', 'TB'].map((unit, power) => [unit, 1000 ** (power + 1)] as const),
]);

/** Reads `512 MiB` or `1.5 TB` as a number of bytes, `least` at least. */
export function parseSize(text: string, least = 1): number {
  const [, digits = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,3})?) ?([A-Za-z]{1,3})$/.exec(text) ?? [];
  const size = digits === '' ? Number.NaN : Math.round(Number(digits) * (UNITS.get(unit) ?? Number.NaN));
  if (size >= least && size <= Number.MAX_SAFE_INTEGER) return size;
  throw unexpected(text, 'a size such as "512 MiB", "200 GiB" or "1.5 TB"');
}

/** Reads a public key in the form that Nix has in `trusted-public-keys`. */
export function parsePublicKey(text: string): PublicKey {
  if (isPublicKey(text)) return text;
  // The text may be a secret key, pasted by mistake: only its name is shown.
  const found = `${text.includes(':') ? text.slice(0, text.indexOf(':') + 1) : ''}***`;
  throw unexpected(found, 'a public key "name:base64", the base64 of 32 bytes');
}

function unexpected(found: string, expected: string): CacheError {
  return new CacheError('config', `found ${show(found)}, expected ${expected}`);
}

function isHost(text: string): boolean {
  // Digits and dots that are no address are a mistyped address, never a name.
  return isIP(text) !== 0 || (/^[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?$/i.test(text) && /[^\d.]/.test(text));
}

/** Percent-decoded; undefined if that can't be done or gives control characters, which Basic has no place for. */
function decoded(text: string): string | undefined {
  try {
    const plain = decodeURIComponent(text);
    return /\p{Cc}/u.test(plain) ? undefined : plain;
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
