// What caches in front of this one, and clients that have asked before, may do with an answer: RFC 9110, section 13
// (conditional requests), and RFC 9111 (Cache-Control).
//
// A cache in front that keeps our 404 hides the push that comes next (varnish does so for two minutes), so errors are kept by
// nobody. What may be replaced or removed is believed for a minute. Only a NAR that is known by its hash never changes.
import type { IncomingHttpHeaders } from 'node:http';

/** Of errors, and of pages that tell how things are now. */
export const NEVER = 'no-store';

/** Seconds for which what may change is believed. Nix itself believes a narinfo for 30 days. */
const SHORT_S = 60;
/** A year: the longest that caches care about. */
const LONG_S = 31_536_000;

/** By what an answer is told from another version of the same. */
export interface Validators {
  /** With its quotation marks. */
  readonly etag: string | undefined;
  /** When it came here. */
  readonly modified: Date | undefined;
}

/** `lasting`: whether the bytes under its name never change; `open`: whether anybody may read it. */
export function cacheControl(lasting: boolean, open: boolean): string {
  const who = open ? 'public' : 'private';
  return lasting ? `${who}, max-age=${LONG_S}, immutable` : `${who}, max-age=${SHORT_S}`;
}

/** The part of an answer's head that tells which version it is and who may keep it, as names and values in turn. */
export function versionHead({ etag, modified }: Validators, control: string): string[] {
  return [
    ...(etag === undefined ? [] : ['ETag', etag]),
    ...(modified === undefined ? [] : ['Last-Modified', modified.toUTCString()]),
    'Cache-Control',
    control,
  ];
}

/** Whether the client has this very version already: then it gets 304 instead of the body. */
export function isUnchanged(headers: IncomingHttpHeaders, { etag, modified }: Validators): boolean {
  const { 'if-none-match': known, 'if-modified-since': since } = headers;
  // If-Modified-Since counts only without If-None-Match.
  if (known !== undefined) return etag !== undefined && names(known, etag);
  if (since === undefined || modified === undefined) return false;
  // A value that is no date compares as false.
  return wholeSeconds(modified) <= Date.parse(since);
}

/** Whether a Range may be answered with a part, as far as If-Range says. */
export function isSameFile(condition: string | undefined, { etag, modified }: Validators): boolean {
  if (condition === undefined || condition === etag) return true;
  return modified !== undefined && Date.parse(condition) === wholeSeconds(modified);
}

/** Whether the list in an If-None-Match has the ETag, strong or weak, or stands for any. */
function names(list: string, etag: string): boolean {
  return list.split(',').some((one) => {
    const tag = one.trim().replace(/^W\//, '');
    return tag === etag || tag === '*';
  });
}

/** Milliseconds; dates in headers have no fractions of seconds. */
function wholeSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000) * 1000;
}
