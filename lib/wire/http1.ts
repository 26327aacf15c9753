// One GET over HTTP/1.1, by a connection of the agent: waits for a slot, sends, and answers when the headers are there. The slot
// is held until the body has ended, so that no more connections are open than there are slots.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { CacheError, describe, isCacheError, isErrno } from '../errors.ts';
import type { Ahead } from '../sync/ahead.ts';
import type { Slots } from '../sync/slots.ts';
import { type DialAgent, type DialArgs, MAX_HEAD } from './agent.ts';
import { AskAgain } from './ask-again.ts';
import { shown, targetOf } from './urls.ts';

/** `5` twice, and `5, 5`. */
const TWO_LENGTHS = ['HPE_UNEXPECTED_CONTENT_LENGTH', 'HPE_INVALID_CONTENT_LENGTH'];

export interface RequestOptions {
  readonly agent: DialAgent;
  readonly slots: Slots;
  /**
   * Called when the slot is there, or no connection could be made in so many milliseconds; may throw instead of letting the request be
   * sent.
   */
  readonly admit: (waitedMs?: number) => void;
  /** Called when there is a connection to send it over. */
  readonly connected: () => void;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds from the finished connection to the answer's headers. */
  readonly firstByteMs: number;
  /** See {@link Target}. */
  readonly onlyPublic: boolean;
  /** Set while it is fetched ahead of whoever may want it. */
  readonly ahead: Ahead | undefined;
  readonly signal: AbortSignal;
}

/**
 * Sends a GET of `url`; the answer's body must be read to its end or destroyed.
 * @throws CacheError `upstream`, `proxy`, `timeout` or `aborted`; AskAgain if the server has come to want HTTP/2
 */
export async function getOverHttp1(url: URL, options: RequestOptions): Promise<IncomingMessage> {
  const release = await options.slots.acquire(options.signal, 1, options.ahead).catch((cause) => {
    throw new CacheError('aborted', `${shown(url)}: no longer wanted`, cause);
  });
  try {
    options.admit();
    const response = await sendAfresh(url, options);
    // Released one turn later: only then has the agent taken the socket back, and a new request can reuse it.
    response.once('close', () => setImmediate(release));
    return response;
  } catch (error) {
    release();
    if (isCacheError(error) || error instanceof AskAgain) throw error;
    throw new CacheError(
      'upstream',
      `${shown(url)}${options.agent.through}: connection failed before an answer: ${describe(error)}`,
      error,
    );
  }
}

/**
 * A kept connection may have been closed by the other side just now: that says nothing about the upstream, so ask again. So
 * does an answer whose length is said twice, which takes another way to read.
 */
async function sendAfresh(url: URL, options: RequestOptions): Promise<IncomingMessage> {
  const { agent } = options;
  let { tidy } = agent;
  for (;;) {
    const attempt = { reused: false, tidy };
    try {
      const response = await send(url, options, attempt);
      agent.tidy = tidy;
      return response;
    } catch (error) {
      if (isErrno(error, ...TWO_LENGTHS) && !tidy) tidy = true;
      else if (!attempt.reused || !isErrno(error, 'ECONNRESET', 'EPIPE')) throw error;
    }
  }
}

function send(
  url: URL,
  options: RequestOptions,
  attempt: { reused: boolean; readonly tidy: boolean },
): Promise<IncomingMessage> {
  const { agent, connected, headers, firstByteMs, onlyPublic, signal } = options;
  const { tidy } = attempt;
  return new Promise((resolve, reject) => {
    const target = targetOf(url, onlyPublic);
    const args: DialArgs = {
      agent,
      // The agent's socket may be TLS, but node:http must not know: to it this is plain HTTP.
      protocol: 'http:',
      host: url.hostname,
      port: target.port,
      path: url.pathname + url.search,
      headers: { host: url.host, ...headers, ...(tidy ? { connection: 'close' } : {}) },
      maxHeaderSize: MAX_HEAD,
      tidy,
      target,
      dialSignal: signal,
    };
    const req = httpRequest(args);
    // Header bytes are bounded elsewhere; Node would silently drop headers beyond its number.
    req.maxHeadersCount = 0;
    let timer: NodeJS.Timeout | undefined;
    const abort = () =>
      req.destroy(new CacheError('aborted', `${shown(url)}: no longer wanted`, signal.reason));
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    signal.addEventListener('abort', abort, { once: true });
    req.once('socket', () => {
      connected();
      timer = setTimeout(() => {
        req.destroy(
          new CacheError(
            'timeout',
            `${shown(url)}${agent.through}: no answer within ${firstByteMs / 1000} s`,
          ),
        );
      }, firstByteMs);
    });
    req.once('response', (response) => {
      settle();
      resolve(response);
    });
    const fail = (error: Error) => {
      settle();
      attempt.reused = req.reusedSocket;
      reject(error);
    };
    // Without this listener, Node would drop a 101 silently.
    req.once('upgrade', (_response, socket) => {
      socket.destroy();
      fail(new CacheError('upstream', `${shown(url)}${agent.through}: answered 101 Switching Protocols`));
    });
    // Catches a request that ends silently; after an answer or an error this changes nothing.
    req.once('close', () =>
      fail(new CacheError('upstream', `${shown(url)}${agent.through}: ended without an answer`)),
    );
    // Stays for the life of the request: errors after the headers reach the response, but also come here.
    req.on('error', fail);
    req.end();
  });
}
