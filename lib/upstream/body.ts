// The body of an upstream's answer: content codings undone, with a deadline on silence, its failures in our terms.
import type { IncomingMessage } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import { CacheError, describe, isCacheError } from '../errors.ts';
import { codingOf, decoderOf, untilStalled } from '../streams.ts';

/** Bytes of a body that nobody wants to read on to keep its connection; beyond that a new one is cheaper. */
const DISCARD_BYTES = 64 * 1024;

/** Bytes on their way from somewhere; read them to the end or destroy them. */
export interface Incoming extends AsyncIterable<Buffer> {
  destroy(): void;
}

/** Who is told how a body fares. */
export interface Watch {
  received(bytes: number): unknown;
  delivered(): unknown;
  failed(error: CacheError): unknown;
}

export class Body implements Incoming {
  readonly #stream: Readable;
  readonly #label: string;
  readonly #stallMs: number;
  readonly #watch: Watch;
  #destroyed = false;

  /**
   * `signal` ends it early.
   * @throws CacheError `upstream` for a Content-Encoding that this Node can't decode
   */
  constructor(response: IncomingMessage, label: string, stallMs: number, watch: Watch, signal: AbortSignal) {
    this.#label = label;
    this.#stallMs = stallMs;
    this.#watch = watch;
    this.#stream = decoded(response, label);
    const abort = () => this.destroy();
    signal.addEventListener('abort', abort, { once: true });
    response.once('close', () => signal.removeEventListener('abort', abort));
    if (signal.aborted) abort();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const stalled = () => new CacheError('timeout', `${this.#label}: no byte for ${this.#stallMs / 1000} s`);
    try {
      for await (const chunk of untilStalled(this.#stream, this.#stallMs, stalled)) {
        this.#watch.received(chunk.length);
        yield chunk;
      }
      this.#watch.delivered();
    } catch (error) {
      if (this.#destroyed) throw new CacheError('aborted', `${this.#label}: no longer wanted`, error);
      const failure = isCacheError(error)
        ? error
        : new CacheError('upstream', `${this.#label}: broke off: ${describe(error)}`, error);
      this.#watch.failed(failure);
      throw failure;
    } finally {
      this.#stream.destroy();
    }
  }

  destroy(): void {
    this.#destroyed = true;
    this.#stream.destroy();
  }
}

function decoded(response: IncomingMessage, label: string): Readable {
  const coding = codingOf(response.headers['content-encoding']);
  if (coding === undefined) return response;
  const decoder = decoderOf(coding);
  // The callback is only there because pipeline wants one: errors surface where the decoder is read.
  if (decoder !== undefined) return pipeline(response, decoder, () => {});
  response.destroy();
  throw new CacheError(
    'upstream',
    `${label}: answered with Content-Encoding ${coding} though none was accepted`,
  );
}

/** Lets go of an answer whose body is of no interest, keeping its connection if that is cheap. */
export function discard(response: IncomingMessage): void {
  let bytes = 0;
  response.on('error', () => {});
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DISCARD_BYTES) response.destroy();
  });
  const timer = setTimeout(() => response.destroy(), 1000);
  response.once('close', () => clearTimeout(timer));
}
