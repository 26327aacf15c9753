// The body of an upstream's answer: content codings undone, with a deadline on silence, its failures in our terms.
import { codingOf, decode, isDecodable, isPassable } from '../bytes/codings.ts';
import { untilStalled } from '../bytes/streams.ts';
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Response } from '../wire/response.ts';
import { UnknownCoding } from './coding.ts';

/** Bytes of a body that nobody wants to read on to keep its connection; beyond that a new one is cheaper. */
const DISCARD_BYTES = 64 * 1024;

/** Bytes on their way from somewhere; read them to the end or destroy them. */
export interface Incoming extends AsyncIterable<Buffer> {
  /** Bytes of it that have come over the line, where that is not what is read of it. */
  readonly received?: number;
  /** Has whoever reads it fail with `error`. */
  destroy(error?: CacheError): void;
}

/** Who is told how a body fares. */
export interface Watch {
  delivered(): unknown;
  failed(error: CacheError): unknown;
  /** So many bytes have come, `received` over the line, and no more will. */
  ended(bytes: number, received: number): unknown;
}

interface BodyOptions {
  readonly stallMs: number;
  readonly watch: Watch;
  readonly signal: AbortSignal;
  readonly packed?: boolean | undefined;
}

export class Body implements Incoming {
  readonly #response: Response;
  readonly #coding: string | undefined;
  readonly #label: string;
  readonly #stallMs: number;
  readonly #watch: Watch;
  /** Set once it was destroyed from outside: why, if that was said. */
  #destroyed: CacheError | null | undefined;

  /** What it is left packed in. */
  readonly packedIn: string | undefined;
  #received = 0;

  /**
   * `signal` ends it early; `packed` is whether what can't be decoded may stay as it is.
   * @throws CacheError `upstream` for a Content-Encoding that this Node can't decode
   */
  constructor(response: Response, label: string, { stallMs, watch, signal, packed = false }: BodyOptions) {
    this.#response = response;
    this.#label = label;
    this.#stallMs = stallMs;
    this.#watch = watch;
    const coding = codingOf(response.headers['content-encoding']);
    this.packedIn =
      packed && coding !== undefined && !isDecodable(coding) && isPassable(coding) ? coding : undefined;
    this.#coding = this.packedIn === undefined ? coding : undefined;
    if (this.#coding !== undefined && !isDecodable(this.#coding)) {
      response.destroy();
      throw new UnknownCoding(
        'upstream',
        `${label}: answered with Content-Encoding ${this.#coding.slice(0, 100)}, which was not accepted`,
      );
    }
    const abort = () => this.destroy();
    signal.addEventListener('abort', abort, { once: true });
    response.once('close', () => signal.removeEventListener('abort', abort));
    // Avoid an uncaught error while nobody reads the body; readers still see it.
    response.on('error', () => {});
    if (signal.aborted) abort();
  }

  /** The coding that is undone. */
  get undone(): string | undefined {
    return this.#coding;
  }

  /** Bytes that have come over the line. */
  get received(): number {
    return this.#received;
  }

  async *#counted(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      this.#received += chunk.length;
      yield chunk;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const stalled = () => new CacheError('timeout', `${this.#label}: no byte for ${this.#stallMs / 1000} s`);
    let bytes = 0;
    const chunks = untilStalled(this.#response, this.#stallMs, stalled);
    try {
      for await (const chunk of this.#coding === undefined
        ? chunks
        : decode(this.#coding, this.#counted(chunks))) {
        bytes += chunk.length;
        if (this.#coding === undefined) this.#received = bytes;
        yield chunk;
      }
      this.#watch.delivered();
    } catch (error) {
      const aborted = () => new CacheError('aborted', `${this.#label}: no longer wanted`, error);
      if (this.#destroyed !== undefined) throw this.#destroyed ?? aborted();
      // A decoding error says something of this body alone.
      if (isCacheError(error, 'invalid'))
        throw new CacheError('upstream', `${this.#label}: ${describe(error)}`, error);
      const failure = isCacheError(error)
        ? error
        : new CacheError('upstream', `${this.#label}: broke off: ${describe(error)}`, error);
      this.#watch.failed(failure);
      throw failure;
    } finally {
      this.#response.destroy();
      this.#watch.ended(bytes, this.#received);
    }
  }

  destroy(error?: CacheError): void {
    this.#destroyed ??= error ?? null;
    this.#response.destroy(error);
  }
}

/** Lets go of an answer whose body is of no interest, keeping its connection if that is cheap. */
export function discard(response: Response): void {
  let bytes = 0;
  response.on('error', () => {});
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DISCARD_BYTES) response.destroy();
  });
  const timer = setTimeout(() => response.destroy(), 1000);
  response.once('close', () => clearTimeout(timer));
}
