// What a 403 means. Buckets that nobody may list say it of what they do not have, and that is a miss; but a server that has
// banned us says it of everything, with a web page, and so does a bucket whose credentials or clocks do not fit.
import { clip } from '../wire/handshake.ts';
import type { Response } from '../wire/response.ts';
import { discard } from './body.ts';

/** Where such a page or XML says what it is. */
const BEGINNING_BYTES = 4096;
const BEGINNING_MS = 2000;

/**
 * What buckets say of an object that they lack. Every other code is about the request, the account, the bucket, or how often it
 * was asked, and there are more of them than anybody could list; none is known that stands for a missing object.
 */
const OF_THE_OBJECT = /^(?:AccessDenied|NoSuchKey|NoSuchVersion|\w*NotFound)$/;

/** Why the 403 is no miss, in words; undefined if it is one. The answer is let go of. */
export async function banIn(response: Response): Promise<string | undefined> {
  const isLimit = response.headers['retry-after'] !== undefined;
  if (isLimit || isWebPage(response)) {
    discard(response);
    return isLimit ? 'for a while, says its Retry-After' : 'with a web page';
  }
  const text = await beginningOf(response);
  if (/^\s*(?:<!doctype html|<html)/i.test(text)) return 'with a web page';
  const [, code] = /<Code>\s*([^<\s]+)\s*<\/Code>/i.exec(text) ?? [];
  if (code !== undefined && !OF_THE_OBJECT.test(code)) return clip(code, 100);
  // The request's signed URL has expired.
  return /<Message>[^<]*\bexpired\b/i.test(text) ? 'as the request has expired' : undefined;
}

/** Whether its type says that it is for people. */
export function isWebPage({ headers }: Response): boolean {
  return /^\s*(?:text\/html|application\/xhtml\+xml)\b/i.test(headers['content-type'] ?? '');
}

/** As much of the body as came soon. Never rejects. */
function beginningOf(response: Response): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve) => {
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      response.off('data', take);
      // The rest of the body is of no interest.
      discard(response);
      resolve(Buffer.concat(parts).toString('latin1', 0, BEGINNING_BYTES));
    };
    const take = (chunk: Buffer) => {
      parts.push(chunk);
      bytes += chunk.length;
      if (bytes >= BEGINNING_BYTES) end();
    };
    const timer = setTimeout(end, BEGINNING_MS);
    response.on('error', () => {}).on('data', take);
    response.once('end', end).once('close', end);
  });
}
