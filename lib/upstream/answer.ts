// What an upstream has under a URL, as its headers tell: RFC 9110, sections 8 and 14.
import type { IncomingHttpHeaders } from 'node:http';
import { codingOf, isDecodable } from '../bytes/codings.ts';
import type { Response } from '../wire/response.ts';
import type { Incoming } from './body.ts';

/** Something an upstream has, or a part of it. Read the body to its end or destroy it. */
export interface Answer extends Extent {
  readonly body: Incoming;
  /** Differs when the whole has changed: a strong ETag, or else the date; undefined if there is neither. */
  readonly validator: string | undefined;
  /** What the body is packed in, where that was let pass: see {@link Manner.packed}. */
  readonly coding?: string | undefined;
  /** The Content-Encoding that it came in and that is undone: then its size on the line is not that of the whole. */
  readonly undone?: string | undefined;
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
  /** Whether to ask for the whole, as no part is to be had: what comes before `start` is to be skipped. */
  readonly whole?: boolean;
  /**
   * Set where it only opens a body that may then come in parts over so many connections: whoever gives that body sooner in one
   * coded answer may do so instead.
   */
  readonly connections?: number;
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

/** What the body of a 200 or 206, to a request for `part` or for all, is of the whole; or, in words, why it can't be used. */
export function extentOf({ headers, httpVersionMajor, statusCode }: Response, part?: Part): Extent | string {
  const transfer = headers['transfer-encoding'];
  // No other transfer coding was asked for, and node:http would read its bytes as the body's.
  if (transfer !== undefined && transfer.trim().toLowerCase() !== 'chunked')
    return `answered with Transfer-Encoding ${JSON.stringify(transfer.slice(0, 100))}`;
  const wanted = part?.whole === true ? undefined : part;
  const extent =
    statusCode === 206 ? partOf(headers, wanted) : wholeOrPart(headers, wanted, httpVersionMajor);
  if (extent !== undefined) return extent;
  const { 'content-encoding': coding, 'content-length': length = '', 'content-range': range } = headers;
  const found = [
    ...(statusCode === 206 || range !== undefined ? [`Content-Range ${JSON.stringify(range ?? '')}`] : []),
    ...(length === '' ? [] : [`Content-Length ${length}`]),
    ...(codingOf(coding) === undefined ? [] : [`Content-Encoding ${coding}`]),
  ];
  return `answered ${statusCode} with ${found.map((header) => header.slice(0, 100)).join(', ')}`;
}

function isCoded(headers: IncomingHttpHeaders): boolean {
  return codingOf(headers['content-encoding']) !== undefined;
}

function wholeOf(headers: IncomingHttpHeaders, version: number): Extent | undefined {
  const { 'content-length': length, 'transfer-encoding': chunked } = headers;
  const coded = isCoded(headers);
  const size = length === undefined || coded ? undefined : Number(length);
  // Whether a coded body is whole shows when it is decoded.
  const undone = coded && isDecodable(codingOf(headers['content-encoding']) ?? '');
  const delimited = undone || length !== undefined || chunked !== undefined || version >= 2;
  const counts = size === undefined || Number.isSafeInteger(size);
  return counts ? { size, start: 0, end: size, partial: false, delimited } : undefined;
}

/** harmonia before 3.2 sends a part with status 200. Others that say so may mean the whole; then its length is that. */
function wholeOrPart(
  headers: IncomingHttpHeaders,
  wanted: Part | undefined,
  version: number,
): Extent | undefined {
  const { 'content-length': length, 'content-range': header } = headers;
  const range = wanted && rangeOf(header);
  if (range === undefined) return wholeOf(headers, version);
  const { start, end, size } = range;
  const isWhole = start === 0 && end === size;
  if (!isCoded(headers) && (isWhole || Number(length) === size)) return wholeOf(headers, version);
  return start === wanted?.start && end <= (wanted.end ?? end) ? partOf(headers, wanted) : undefined;
}

/** Undefined if it does not say it, or not in numbers that can be counted in, or is not of what was asked for. */
function partOf(headers: IncomingHttpHeaders, wanted: Part | undefined): Extent | undefined {
  const { 'content-length': length, 'content-range': header, 'content-type': type } = headers;
  const range = rangeOf(header);
  if (range === undefined || isCoded(headers) || type?.startsWith('multipart/')) return undefined;
  const { start, end, size } = range;
  const { start: from } = wanted ?? range;
  const fits = start <= from && from < end && end <= (size ?? end) && Number.isSafeInteger(size ?? end);
  if (!fits || (length !== undefined && Number(length) !== end - start)) return undefined;
  return { size, start, end, partial: true, delimited: true };
}

/** A Content-Range, also as some write it: `Bytes 0-1/2`, `bytes=0-1/2`. */
function rangeOf(
  header: string | undefined,
): { start: number; end: number; size: number | undefined } | undefined {
  const match = /^\s*bytes(?:\s*[=:]\s*|\s+)(\d+)\s*-\s*(\d+)\s*\/\s*(\d+|\*)\s*$/i.exec(
    (header ?? '').slice(0, 200),
  );
  const [, first, last, total] = match ?? [];
  if (first === undefined) return undefined;
  return { start: Number(first), end: Number(last) + 1, size: total === '*' ? undefined : Number(total) };
}

/** See {@link Answer.validator}. */
export function validatorOf(response: Response): string | undefined {
  const { etag, 'last-modified': date } = response.headers;
  return etag !== undefined && /^".+"$/.test(etag) ? etag : date;
}
