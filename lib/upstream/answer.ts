// What an upstream has under a URL, as its headers tell: RFC 9110, sections 8 and 14.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { codingOf } from '../codings.ts';
import type { Incoming } from './body.ts';

/** Something an upstream has, or a part of it. Read the body to its end or destroy it. */
export interface Answer extends Extent {
  readonly body: Incoming;
  /** Differs when the whole has changed: a strong ETag, or else the date; undefined if there is neither. */
  readonly validator: string | undefined;
}

interface Extent {
  /** Bytes of the whole; undefined if the upstream does not tell. */
  readonly size: number | undefined;
  /** The body's bytes are those of the whole from here … */
  readonly start: number;
  /** … up to here; undefined if the upstream does not tell. */
  readonly end: number | undefined;
  /** Whether it is the part that was asked for; else it is the whole. */
  readonly partial: boolean;
  /** Whether its end can be told from a connection that breaks. */
  readonly delimited: boolean;
}

/** From `start` up to, not including, `end`, or to the end if that is undefined. */
export interface Part {
  readonly start: number;
  readonly end: number | undefined;
}

/** The Range header that asks for a part. */
export function rangeHeader({ start, end }: Part): string {
  return `bytes=${start}-${end === undefined ? '' : end - 1}`;
}

/**
 * Whether it is the rest of something that has broken off. Whoever wants that has nobody better to ask, so it is sent to
 * an upstream believed dead too; and one download that fails over and over counts as one failure.
 */
export function isContinuation(part: Part | undefined): boolean {
  return part !== undefined && part.start > 0;
}

/** What the body of a 200 or 206 is of the whole; or, in words, why it can't be used. */
export function extentOf({ headers, statusCode }: IncomingMessage): Extent | string {
  const transfer = headers['transfer-encoding'];
  // Nobody asked for another, and node:http would take its bytes for the body's.
  if (transfer !== undefined && transfer.trim().toLowerCase() !== 'chunked')
    return `answered with Transfer-Encoding ${JSON.stringify(transfer.slice(0, 100))}`;
  const isCoded = codingOf(headers['content-encoding']) !== undefined;
  const extent = statusCode === 206 ? partOf(headers, isCoded) : wholeOf(headers, isCoded);
  if (extent !== undefined) return extent;
  const { 'content-length': length = '', 'content-range': range = '' } = headers;
  const found = statusCode === 206 ? `Content-Range ${JSON.stringify(range)}` : `Content-Length ${length}`;
  return `answered ${statusCode} with ${found.slice(0, 100)}`;
}

function wholeOf(headers: IncomingHttpHeaders, isCoded: boolean): Extent | undefined {
  const { 'content-length': length, 'transfer-encoding': chunked } = headers;
  const size = length === undefined || isCoded ? undefined : Number(length);
  const delimited = isCoded || length !== undefined || chunked !== undefined;
  const counts = size === undefined || Number.isSafeInteger(size);
  return counts ? { size, start: 0, end: size, partial: false, delimited } : undefined;
}

/** Undefined if it does not say it, or in numbers that can't be counted in. */
function partOf({ 'content-range': range }: IncomingHttpHeaders, isCoded: boolean): Extent | undefined {
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range?.trim() ?? '') ?? [];
  if (first === undefined || isCoded) return undefined;
  const [start, end] = [Number(first), Number(last) + 1];
  const size = total === '*' ? undefined : Number(total);
  const fits = start < end && end <= (size ?? end) && Number.isSafeInteger(size ?? end);
  return fits ? { size, start, end, partial: true, delimited: true } : undefined;
}

/** See {@link Answer.validator}. */
export function validatorOf(response: IncomingMessage): string | undefined {
  const { etag, 'last-modified': date } = response.headers;
  return etag !== undefined && /^".+"$/.test(etag) ? etag : date;
}
