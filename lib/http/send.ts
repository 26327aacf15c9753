// A found object as an HTTP answer: headers, one range or all of it, the body at the client's pace.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reader } from '../bytes/streams.ts';
import type { Found } from '../cache/found.ts';
import { CacheError } from '../errors.ts';
import { within } from '../sync/within.ts';
import { cacheControl, isSameFile, isUnchanged, NEVER, versionHead } from './caching.ts';
import { parseRange } from './range.ts';

/** Bodies whose headers wait for their verdict, and how long at most: whoever has left is noticed only when something is sent. */
const SHORT_BYTES = 64 * 1024;
const SHORT_MS = 10_000;
/** The same where nobody knows how long the body is, and so whether that is worth a wait. */
const UNSIZED_MS = 2000;

/**
 * Answers with `found`, which it closes; `open` is whether anybody may read it; `count` gets how many bytes of the body went out.
 * Rejects if the body broke off; then the connection is already cut.
 */
export async function sendFound(
  req: IncomingMessage,
  res: ServerResponse,
  found: Found,
  open: boolean,
  count = { bytes: 0 },
): Promise<void> {
  const { body, coding, lasting, mime, modified, size, sha256 } = found;
  if (res.destroyed) {
    found.close();
    return;
  }
  const etag = sha256 === undefined ? undefined : `"${sha256}"`;
  const validators = { etag, modified };
  // Some proxies end a cut body of unknown length cleanly, so caches behind them must not keep it.
  const mayBeShort = size === undefined && body === undefined;
  const version = versionHead(validators, mayBeShort ? NEVER : cacheControl(lasting, open));
  for (let i = 0; i < version.length; i += 2) res.setHeader(version[i] as string, version[i + 1] as string);
  if (isUnchanged(req.headers, validators)) {
    found.close();
    res.writeHead(304).end();
    return;
  }
  res.setHeader('Content-Type', mime);
  if (coding !== undefined) res.setHeader('Content-Encoding', coding);
  if (body !== undefined) {
    found.close();
    res.setHeader('Content-Length', body.length);
    if (req.method !== 'HEAD') count.bytes = body.length;
    res.end(req.method === 'HEAD' ? undefined : body);
    return;
  }
  let range: ReturnType<typeof parseRange>;
  if (size !== undefined && coding === undefined) {
    // Also on partial answers: Nix continues a second time only if the first continuation said it could.
    res.setHeader('Accept-Ranges', 'bytes');
    const [condition] = [req.headers['if-range']].flat();
    if (req.method === 'GET' && isSameFile(condition, validators))
      range = parseRange(req.headers.range, size);
  }
  if (range === 'unsatisfiable') {
    found.close();
    // Clients give up after a 416, but retry after a 502.
    if (!found.sure) throw new CacheError('upstream', `has ${size} bytes, as it seems; asked for others`);
    res.removeHeader('Content-Type');
    res.setHeader('Cache-Control', NEVER);
    res.writeHead(416, { 'Content-Range': `bytes */${size}`, 'Content-Length': 0 }).end();
    return;
  }
  if (range !== undefined) {
    res.statusCode = 206;
    res.setHeader('Content-Range', `bytes ${range.start}-${range.end - 1}/${size}`);
  }
  if (size !== undefined)
    res.setHeader('Content-Length', range === undefined ? size : range.end - range.start);
  if (req.method === 'HEAD') {
    found.close();
    res.end();
    return;
  }
  const [start, end] = [range?.start ?? 0, range?.end ?? size];
  const reader = found.open(start, end);
  try {
    // A file on disk may turn out damaged; as long as no byte has gone out, an upstream can replace it. A short body
    // is held back until it is known to be right, so that there is time for an error status.
    const first = reader.read();
    first.catch(() => {});
    if (found.mayBeDamaged) {
      const piece = await first;
      if (piece !== undefined && piece.length === (end ?? 0) - start)
        return await sendWhole(reader, res, piece, count);
    } else if (size === undefined) await within(UNSIZED_MS, first);
    else if (size <= SHORT_BYTES) await within(SHORT_MS, first);
    // For other bodies the headers go out before the first byte, which a slow upstream may delay.
    res.flushHeaders();
    await pour(reader, res, first, count);
  } catch (error) {
    // HTTP/1.0 ends a body of unknown length by closing, so only a reset shows that it was cut.
    if (size === undefined && req.httpVersionMinor === 0) req.socket.resetAndDestroy();
    throw error;
  } finally {
    reader.close();
  }
}

/** Any error while something is sent means that the client left: a reset, a broken pipe, or a stream that is destroyed already. */
function left(cause?: Error): CacheError {
  return new CacheError('aborted', 'the client left', cause);
}

/** Sends a body that has come in one piece from `reader`, in one write with its head. */
function sendWhole(
  reader: Reader,
  res: ServerResponse,
  body: Buffer,
  count: { bytes: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    // `close` may have fired before this listened.
    if (res.destroyed) return reject(left());
    const onClose = () => reject(left());
    res.once('close', onClose);
    res.end(body, () => {
      res.off('close', onClose);
      count.bytes = body.length;
      // It is with the kernel, and so the reader's again.
      reader.read().then(() => resolve(), reject);
    });
  });
}

/** Sends `first` and what `reader` has behind it. A piece is only lent: the next is asked for when it is with the kernel. */
function pour(
  reader: Reader,
  res: ServerResponse,
  first: Promise<Buffer | undefined>,
  count: { bytes: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(left());
    const send = (piece: Buffer | undefined) => {
      if (piece === undefined) {
        res.end(() => {
          // An error is slow to make, and most clients stay to the end.
          res.off('close', onClose);
          resolve();
        });
        return;
      }
      const { length } = piece;
      res.write(piece, (error) => {
        if (error) return reject(left(error));
        count.bytes += length;
        step();
      });
    };
    const step = () => void reader.read().then(send, reject);
    if (res.destroyed) return reject(left());
    res.once('close', onClose);
    first.then(send, reject);
  });
}

/** An answer that is the same for everybody. */
export interface Ready {
  readonly status: number;
  /** Names and values in turn. */
  readonly head: readonly string[];
  /** A character for each byte (latin1): Node sends a text together with the head, and a Buffer behind it. */
  readonly body: string;
}

/** Sends it; the bytes of the body that go out. */
export function sendReady(req: IncomingMessage, res: ServerResponse, { status, head, body }: Ready): number {
  res.writeHead(status, head as string[]);
  if (req.method === 'HEAD' || body === '') {
    res.end();
    return 0;
  }
  res.end(body, 'latin1');
  return body.length;
}

/** A short sentence, which holds for now only. */
export function readyText(status: number, text: string): Ready {
  const body = Buffer.from(`${text}\n`);
  const head = ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', `${body.length}`];
  return { status, head: [...head, 'Cache-Control', NEVER], body: body.toString('latin1') };
}

/** Answers with a short sentence. */
export function sendText(req: IncomingMessage, res: ServerResponse, status: number, text: string): void {
  sendReady(req, res, readyText(status, text));
}
