// The body of an upstream's answer: content codings undone, with a deadline on silence, its failures in our terms.
import type { IncomingMessage } from 'node:http';
import { codingOf, decode, isDecodable } from '../codings.ts';
import { CacheError, describe, isCacheError } from '../errors.ts';
import { untilStalled } from '../streams.ts';

/** Bytes of a body that nobody wants to read on to keep its connection; beyond that a new one is cheaper. */
const DISCARD_BYTES = 64 * 1024;

/** Bytes on their way from somewhere; read them to the end or destroy them. */
export interface Incoming extends AsyncIterable<Buffer> {
  /** Has whoever reads it fail with `error`. */
  destroy(error?: CacheError): void;
}

export class Body implements Incoming {
  readonly #response: IncomingMessage;
  readonly #coding: string | undefined;
  readonly #label: string;
  readonly #stallMs: number;

  /**
   * The body breaks off when `signal` aborts.
   * @throws CacheError `upstream` for a Content-Encoding that this Node can't decode
   */
  constructor(response: IncomingMessage, label: string, stallMs: number, signal: AbortSignal) {
    this.#response = response;
    this.#label = label;
    this.#stallMs = stallMs;
    this.#coding = codingOf(response.headers['content-encoding']);
    if (this.#coding !== undefined && !isDecodable(this.#coding)) {
      response.destroy();
      throw new CacheError(
        'upstream',
        `${label}: answered with Content-Encoding ${this.#coding} though none was accepted`,
      );
    }
    const abort = () => this.destroy(new CacheError('aborted', `${label}: no longer wanted`, signal.reason));
    signal.addEventListener('abort', abort);
    response.once('close', () => signal.removeEventListener('abort', abort));
    // Whoever reads it hears of errors; before and after that nobody need.
    response.on('error', () => {});
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const stalled = () => new CacheError('timeout', `${this.#label}: no byte for ${this.#stallMs / 1000} s`);
    const chunks = untilStalled(this.#response, this.#stallMs, stalled);
    try {
      yield* this.#coding === undefined ? chunks : decode(this.#coding, chunks);
    } catch (error) {
      if (isCacheError(error) && error.code !== 'invalid') throw error;
      throw new CacheError('upstream', `${this.#label}: broke off: ${describe(error)}`, error);
    } finally {
      this.#response.destroy();
    }
  }

  destroy(error?: CacheError): void {
    this.#response.destroy(error);
  }
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
