// URLs that others write: in narinfos, and as where a redirect leads to.

import { CacheError } from '../errors.ts';
import { parseUrl } from '../url.ts';
import type { Target } from './target.ts';

/**
 * `reference` as seen from `base`, without the credentials that somebody else may have written into it.
 * @throws CacheError `upstream`, beginning with `what`
 */
export function httpUrl(reference: string, base: string, what: string): URL {
  const url = parseUrl(reference, base);
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CacheError(
      'upstream',
      `${what} ${JSON.stringify(reference.slice(0, 200))}, expected an http or https URL`,
    );
  }
  url.username = '';
  url.password = '';
  return url;
}

const MAX_REDIRECTS = 10;

/**
 * Where a redirect from `from`, which began at `start` and has so many before it, leads.
 * @throws CacheError `upstream` for what is no such URL, and for one that gives up TLS; `refused` if there are too many
 */
export function redirected(start: URL, from: URL, location: string, before: number): URL {
  if (before === MAX_REDIRECTS) {
    throw new CacheError('refused', `${start.href}: redirected more than ${MAX_REDIRECTS} times`);
  }
  const to = httpUrl(decoded(location), from.href, `${start.href}: redirected to`);
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw new CacheError('upstream', `${start.href}: redirected from https to plain ${to.origin}`);
  }
  return to;
}

/** Header values come as Latin-1; some servers write UTF-8 in them, where nothing but ASCII should be. */
function decoded(header: string): string {
  if (/^[\0-\x7f]*$/.test(header)) return header;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(header, 'latin1'));
  } catch {
    return header;
  }
}

/** For messages: what is behind the question mark may be a signature with which anybody may fetch it. */
export function shown({ origin, pathname, search }: URL): string {
  return `${origin}${pathname}${search === '' ? '' : '?…'}`;
}

/** The host as sockets want it: an IPv6 address without its brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** The server that a URL is of; `onlyPublic`: see {@link Target}. */
export function targetOf(url: URL, onlyPublic: boolean): Target {
  const tls = url.protocol === 'https:';
  return { host: hostOf(url), port: Number(url.port) || (tls ? 443 : 80), tls, onlyPublic };
}
