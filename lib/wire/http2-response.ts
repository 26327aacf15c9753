// An answer over HTTP/2 in the shape of node:http's. A stream of node:http2 ends in the same way whether its body is whole or
// its connection died in the middle; this one ends only if the peer said that it is the end, and as many bytes came as were announced.
import { type IncomingHttpHeaders, STATUS_CODES } from 'node:http';
import { type ClientHttp2Stream, constants, type IncomingHttpStatusHeader } from 'node:http2';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Response } from './response.ts';

/** Bytes that are read before anybody asks for them; beyond them the stream's window closes. */
const AHEAD_BYTES = 256 * 1024;
/** Answers that have no body whatever their length says. */
const BODILESS = [204, 304];

interface Context {
  readonly socket: Pick<Socket, 'remoteAddress'>;
  /** Why the stream ended before its time. */
  readonly broken: () => Error;
  /** Something has come. */
  readonly seen: () => void;
  /** It is given up, for this reason if there is one. */
  readonly givenUp: (error: Error | null) => void;
}

export class Http2Response extends Readable implements Response {
  readonly httpVersionMajor = 2;
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly headers: IncomingHttpHeaders;
  readonly socket: Pick<Socket, 'remoteAddress'>;
  readonly #stream: ClientHttp2Stream;
  readonly #givenUp: Context['givenUp'];

  constructor(
    stream: ClientHttp2Stream,
    head: IncomingHttpHeaders & IncomingHttpStatusHeader,
    { broken, givenUp, seen, socket }: Context,
  ) {
    super({ highWaterMark: AHEAD_BYTES });
    const { ':status': status = 0, ...headers } = head;
    this.statusCode = status;
    this.statusMessage = STATUS_CODES[status] ?? '';
    this.headers = headers;
    this.socket = socket;
    this.#stream = stream;
    this.#givenUp = givenUp;
    let bytes = 0;
    let ended = false;
    const announced = BODILESS.includes(status) ? undefined : announcedIn(headers);
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      seen();
      if (!this.push(chunk)) stream.pause();
    });
    stream.once('end', () => {
      ended = true;
    });
    // Only now is it known how it ended.
    stream.once('close', () => {
      if (this.destroyed) return;
      const isWhole = ended && stream.rstCode === constants.NGHTTP2_NO_ERROR;
      if (isWhole && (announced ?? bytes) === bytes) this.push(null);
      else this.destroy(broken());
    });
    stream.pause();
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.readableEnded && !this.#stream.closed) {
      this.#stream.close(constants.NGHTTP2_CANCEL);
      this.#givenUp(error);
    }
    // What is still on its way is let go of.
    this.#stream.resume();
    // As node:http does it: an error that nobody listens for is none.
    callback(this.listenerCount('error') === 0 ? null : error);
  }
}

function announcedIn({ 'content-length': length }: IncomingHttpHeaders): number | undefined {
  return length !== undefined && /^\d+$/.test(length) ? Number(length) : undefined;
}
