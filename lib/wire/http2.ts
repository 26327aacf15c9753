// One connection that speaks HTTP/2: requests over it, side by side, and what may be believed of their ends. A request that
// the peer has not processed, or that a connection took along which had already answered others, is to be asked again elsewhere.
// Whatever the peer sends is bounded: heads, frames that want an answer, what is read before anybody wants it.
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  sensitiveHeaders,
} from 'node:http2';
import type { Socket } from 'node:net';
import { CacheError, describe, isCacheError, share } from '../errors.ts';
import { GREATEST_AGE_MS, IDLE_MS, MAX_HEAD } from './agent.ts';
import { AskAgain } from './ask-again.ts';
import { type PATIENCE, Pulse } from './http2-pulse.ts';
import { Http2Response } from './http2-response.ts';
import { CONNECTION_WINDOW, Windows } from './http2-windows.ts';
import type { Response } from './response.ts';
import { shown } from './urls.ts';

const {
  NGHTTP2_CANCEL,
  NGHTTP2_ENHANCE_YOUR_CALM,
  NGHTTP2_HTTP_1_1_REQUIRED,
  NGHTTP2_NO_ERROR,
  NGHTTP2_REFUSED_STREAM,
} = constants;
/** RFC 9113, section 7, in the order of their numbers. */
const ERRORS =
  'NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED'.split(
    ' ',
  );

/** Requests at once over one connection, if the peer allows as many; nginx allows 128. */
export const MOST_STREAMS = 128;
/** Before the peer has said how many it allows: RFC 9113 advises against fewer. */
const FIRST_STREAMS = 100;
/** nginx ends a connection after 1000 requests: another is opened in time. */
const WORN_REQUESTS = 800;
/** Frames that want an answer or have to be remembered, of one connection; and heads before the head of one answer. */
const MOST_FRAMES = 1000;
const MOST_HEADS = 32;

export interface Asked {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds until the answer's head. */
  readonly firstByteMs: number;
  /** For messages: ` through proxy http://…`, or nothing. */
  readonly through: string;
  readonly signal: AbortSignal;
}

interface Owner {
  /** It may take other requests than before, or none any more. */
  changed(): void;
  /** Milliseconds from anywhere. */
  now(): number;
  readonly patience: typeof PATIENCE;
}

export class Session {
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #owner: Owner;
  readonly #madeAt: number;
  #active = 0;
  #large = 0;
  #asked = 0;
  #hasAnswered = false;
  #isEnding = false;
  #frames = 0;
  #lastProcessed = Number.POSITIVE_INFINITY;
  #peersMost = FIRST_STREAMS;
  readonly #windows: Windows;
  #death: Error | undefined;
  #idle: NodeJS.Timeout | undefined;
  readonly #pulse: Pulse;

  constructor(socket: Socket, origin: string, owner: Owner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#madeAt = owner.now();
    const session = connect(origin, {
      createConnection: () => socket,
      peerMaxConcurrentStreams: FIRST_STREAMS,
      maxHeaderListPairs: 1000,
      maxReservedRemoteStreams: 0,
      settings: { enablePush: false, initialWindowSize: CONNECTION_WINDOW, maxHeaderListSize: MAX_HEAD },
    });
    this.#session = session;
    this.#windows = new Windows(session);
    this.#pulse = new Pulse(session, {
      now: owner.now,
      patience: owner.patience,
      changed: owner.changed,
      dead: (why) => this.#fail(why),
    });
    session.on('error', (error) => this.#died(error));
    session.on('close', () => this.#died(undefined));
    session.on('goaway', (code, lastStreamId) => this.#goneAway(code, lastStreamId));
    session.on('remoteSettings', ({ maxConcurrentStreams = MOST_STREAMS }) => {
      this.#peersMost = maxConcurrentStreams;
      this.#count();
      owner.changed();
    });
    session.on('localSettings', () => this.#windows.fit(this.#large));
    for (const frame of ['ping', 'altsvc', 'origin'] as const) session.on(frame, () => this.#count());
    this.#rest();
  }

  /** Whether it takes further requests. */
  get isTaking(): boolean {
    return (
      !this.#isEnding &&
      !this.#pulse.isDoubted &&
      this.#death === undefined &&
      !this.#session.closed &&
      !this.#session.destroyed
    );
  }

  get isClosed(): boolean {
    return this.#session.destroyed;
  }

  /** Requests under way, and how many of them for large answers. */
  get active(): number {
    return this.#active;
  }

  get large(): number {
    return this.#large;
  }

  /** How many there may be. */
  get most(): number {
    // One that is sent though the peer allows none is late in the end, which whoever waits behind it would not be.
    return Math.max(1, Math.min(MOST_STREAMS, this.#peersMost));
  }

  /** Whether another is to take its place. */
  get isWorn(): boolean {
    return this.#owner.now() - this.#madeAt >= GREATEST_AGE_MS || this.#asked >= WORN_REQUESTS;
  }

  /** Takes a place for one request, to be given back by what it answers. */
  take(large: boolean): () => void {
    if (this.#active++ === 0) this.#wake();
    if (large) this.#large++;
    this.#windows.fit(this.#large);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#active--;
      if (large) this.#large--;
      this.#windows.fit(this.#large);
      if (this.#active === 0) this.#rest();
      this.#owner.changed();
    };
  }

  /** It takes no further request; those under way go on. */
  end(): void {
    this.#isEnding = true;
    if (this.#active === 0) this.#session.destroy();
  }

  /** Ends all that is under way, too. */
  destroy(): void {
    this.#isEnding = true;
    this.#session.destroy();
  }

  /**
   * Sends a GET; `done` is called when its answer has ended.
   * @throws CacheError `upstream`, `timeout` or `aborted`; AskAgain
   */
  ask({ url, headers, firstByteMs, signal, through }: Asked, done: () => void): Promise<Response> {
    const name = `${shown(url)}${through}`;
    const isFirst = !this.#hasAnswered;
    const since = this.#owner.now();
    return new Promise((resolve, reject) => {
      let stream: ClientHttp2Stream;
      try {
        if (signal.aborted) throw new CacheError('aborted', `${shown(url)}: no longer wanted`, signal.reason);
        stream = this.#session.request({
          ':method': 'GET',
          ':scheme': 'https',
          ':authority': url.host,
          ':path': url.pathname + url.search,
          ...headers,
          [sensitiveHeaders]: ['authorization'],
        });
        this.#asked++;
      } catch (error) {
        done();
        const failed = isCacheError(error)
          ? error
          : new AskAgain('unprocessed', new CacheError('upstream', `${name}: could not be asked`, error));
        reject(failed);
        return;
      }
      let failure: CacheError | undefined;
      let cause: Error | undefined;
      let heads = 0;
      let isAnswered = false;
      const giveUp = (error: CacheError) => {
        failure = error;
        stream.close(NGHTTP2_CANCEL);
        this.#doubt(since);
      };
      const late = () =>
        giveUp(new CacheError('timeout', `${name}: no answer within ${firstByteMs / 1000} s`));
      const timer = setTimeout(late, firstByteMs);
      const abort = () => giveUp(new CacheError('aborted', `${shown(url)}: no longer wanted`, signal.reason));
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
      };
      signal.addEventListener('abort', abort, { once: true });
      stream.on('error', (error) => {
        cause = error;
      });
      stream.on('headers', () => {
        if (++heads > MOST_HEADS) stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
      });
      stream.once('response', (head: IncomingHttpHeaders & IncomingHttpStatusHeader) => {
        settle();
        isAnswered = true;
        this.#hasAnswered = true;
        this.#pulse.seen();
        const context = {
          socket: this.#socket,
          broken: () => this.#broken(stream, cause),
          seen: () => this.#pulse.seen(),
          givenUp: (error: Error | null) => {
            if (isCacheError(error, 'timeout')) this.#doubt(this.#pulse.seenAt);
          },
        };
        resolve(new Http2Response(stream, head, context));
      });
      stream.once('close', () => {
        settle();
        done();
        // Errors are dear, and this one is of no use after an answer.
        if (!isAnswered) reject(failure ?? this.#unanswered(stream, name, isFirst, cause));
      });
    });
  }

  /** Why a request has had no answer. */
  #unanswered(
    stream: ClientHttp2Stream,
    name: string,
    isFirst: boolean,
    cause: Error | undefined,
  ): CacheError | AskAgain {
    const { id, rstCode } = stream;
    const failed = (error: Error) =>
      new CacheError('upstream', `${name}: connection failed before an answer: ${describe(error)}`, error);
    const unprocessed = id === undefined || id > this.#lastProcessed || rstCode === NGHTTP2_REFUSED_STREAM;
    const death = this.#death ?? this.#broken(stream, cause);
    if (unprocessed) return new AskAgain('unprocessed', failed(death));
    if (rstCode === NGHTTP2_HTTP_1_1_REQUIRED) return new AskAgain('http/1.1', failed(death));
    if (!this.#session.destroyed) {
      const ended =
        rstCode === NGHTTP2_NO_ERROR
          ? 'ended without an answer'
          : `the stream was reset (${nameOf(rstCode)})`;
      return new CacheError('upstream', `${name}: ${ended}`, cause);
    }
    if (!isFirst) return new AskAgain('reused', failed(death));
    return isViolation(death) ? new AskAgain('http/1.1', failed(death)) : failed(death);
  }

  /** The same as what node:http says of a body that breaks off, for it is the same to whoever reads it. */
  #broken({ rstCode }: ClientHttp2Stream, cause: Error | undefined): Error {
    // Streams hear of their connection's end before it says so itself.
    if (this.#session.destroyed) this.#death ??= deathBy(cause);
    if (this.#death !== undefined) return this.#death;
    const why =
      rstCode === undefined ? cause : new Error(`the stream was reset (${nameOf(rstCode)})`, { cause });
    return rstCode === NGHTTP2_NO_ERROR ? new Error('aborted') : new Error('aborted', { cause: why });
  }

  #died(cause: unknown): void {
    this.#death ??= deathBy(cause);
    clearTimeout(this.#idle);
    this.#pulse.stop();
    this.#owner.changed();
  }

  #goneAway(code: number, lastStreamId: number): void {
    this.#isEnding = true;
    this.#lastProcessed = Math.min(this.#lastProcessed, lastStreamId);
    if (code === NGHTTP2_NO_ERROR && this.#active === 0) this.#session.destroy();
    this.#owner.changed();
  }

  #fail(why: string): void {
    this.#died(new Error(`the connection ${why}`));
    this.#session.destroy();
  }

  /** Of frames that cost the peer nothing there are few, or too many. */
  #count(): void {
    if (++this.#frames > MOST_FRAMES + this.#asked) this.#fail('was flooded with frames that nobody needs');
  }

  /** Somebody has waited in vain since then. */
  #doubt(since: number): void {
    if (this.isTaking) this.#pulse.doubt(since);
  }

  #wake(): void {
    clearTimeout(this.#idle);
    this.#pulse.watch();
    this.#session.ref();
  }

  #rest(): void {
    this.#pulse.rest();
    if (this.#isEnding || this.#session.destroyed || (this.#asked > 0 && this.isWorn)) {
      this.end();
      return;
    }
    this.#idle = setTimeout(() => this.end(), IDLE_MS);
    this.#idle.unref();
    this.#session.unref();
  }
}

/** One failure, for all whom it meets. */
function deathBy(cause: unknown): Error {
  return share(new Error('aborted', { cause: cause ?? new Error('the other side closed the connection') }));
}

function nameOf(code: number | undefined): string {
  return ERRORS[code ?? NGHTTP2_NO_ERROR] ?? `code ${code}`;
}

/** Whether the peer has broken the protocol, or did not want it. */
function isViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && /^ERR_HTTP2_/.test(String(error.code))) || isViolation(error.cause);
}
