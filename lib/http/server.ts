// The listening socket: limits that fit this protocol (uploads may take hours, idle connections are kept longer than
// clients keep theirs), and a stop that lets running answers finish.
import {
  createServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Listen } from '../config/config.ts';
import type { TlsFiles } from '../config/secrets.ts';
import { CacheError, describe, isErrno } from '../errors.ts';
import { UnderWay } from '../sync/under-way.ts';
import { NEVER } from './caching.ts';
import { watchHalfOpen } from './half-open.ts';
import type { Handler } from './handler.ts';
import { Handshakes } from './handshakes.ts';
import type { Hot } from './hot.ts';
import { type Answer, Turns } from './turns.ts';

/** Nix drops idle connections after 90 s at the latest, and must be the first to do so. */
const KEEP_ALIVE_MS = 150_000;
/** From a request's first byte, or the connection's beginning, to the end of its headers. */
const HEADERS_MS = 30_000;
/** A connection on which nothing has moved in either direction for so long is dead; Nix gives up after as much. */
const SILENT_MS = 300_000;

interface ServerOptions {
  /** Asked before the handler: it may have the answer ready. */
  readonly hot?: Hot;
  readonly tls?: TlsFiles | undefined;
  /** How long the head of a request may take. */
  readonly headersMs?: number;
}

export interface RunningServer {
  /** For messages, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  /** New connections get this certificate; for a server that was started with one. */
  reconfigure(tls: TlsFiles): void;
  /** Stops accepting; resolves when every answer is finished, or cut off after `graceMs`. */
  stop(graceMs: number): Promise<void>;
  /** Resolves when nothing is done any more for those whose connections are gone. */
  idle(): Promise<void>;
}

/**
 * Starts to listen, with TLS if there is a certificate.
 * @throws CacheError `startup` if it can't
 */
export async function startServer(
  listen: Listen,
  handler: Handler,
  { hot = () => undefined, tls, headersMs = HEADERS_MS }: ServerOptions = {},
): Promise<RunningServer> {
  const options = {
    // No deadline on a whole request: a large upload over a slow link may take hours.
    requestTimeout: 0,
    headersTimeout: headersMs,
    connectionsCheckingInterval: headersMs / 10,
    keepAliveTimeout: KEEP_ALIVE_MS,
    noDelay: true,
    keepAlive: true,
  };
  const server =
    tls === undefined
      ? createServer(options)
      : createTlsServer({ ...options, ...contextOf(tls), handshakeTimeout: headersMs });
  // Header bytes are bounded elsewhere. Node would silently drop headers beyond 1000, among them those that a proxy added.
  server.maxHeadersCount = 0;
  // Without this, Node closes the connection as soon as the client has ended its half, even before the answer. Not in Node's
  // documentation, but there since 0.x; a test shows that it works.
  Object.assign(server, { httpAllowHalfOpen: true });
  const turns = new Turns();
  const handlers = new UnderWay();
  const handle = async (req: IncomingMessage, res: ServerResponse, expects: boolean) => {
    handlers.begin();
    await handler(req, res, expects);
    handlers.end();
  };
  const answer: Answer = (req, res) => {
    // An answer that ends its connection is none that is ready.
    const how = turns.stopping ? undefined : hot(req, res);
    if (how === undefined) void handle(req, res, false);
    return how === 'sent';
  };
  const answerExpecting: Answer = (req, res) => {
    void handle(req, res, true);
    return false;
  };
  const refuse: Answer = (_req, res) => {
    refuseExpectation(res);
    return false;
  };
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    turns.add(socket);
    watchHalfOpen(socket, () => turns.answering(socket));
  });
  const handshaking = new Handshakes();
  if (tls !== undefined) handshaking.watch(server as TlsServer);
  // A failed TLS handshake concerns no other client.
  server.on('tlsClientError', (_error, socket: Socket) => socket.destroy());
  server.setTimeout(SILENT_MS);
  server.on('request', (req, res) => turns.take(req, res, answer));
  server.on('checkContinue', (req, res) => turns.take(req, res, answerExpecting));
  server.on('checkExpectation', (req, res) => turns.take(req, res, refuse));
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else cutOff(socket, unreadableStatus(error.code), turns.isBusy(socket));
  });
  // Without this listener, Node would hang up on a CONNECT silently. With it, the socket is ours to end.
  server.on('connect', (_req, socket: Socket) => {
    socket.on('error', () => {});
    cutOff(socket, 405, turns.isBusy(socket));
    socket.destroySoon();
  });
  await bind(server, listen);
  server.on('error', () => {});
  const { port } = server.address() as AddressInfo;
  const host = listen.host ?? 'localhost';
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
    reconfigure: (next) => {
      if (tls !== undefined) (server as TlsServer).setSecureContext(contextOf(next));
    },
    stop: async (graceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      turns.stop();
      handshaking.stop();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
    },
    idle: () => handlers.idle(),
  };
}

function contextOf({ cert, key, clientCa }: TlsFiles) {
  const demands = clientCa !== undefined;
  return {
    ...{ cert, key, minVersion: 'TLSv1.2' as const, requestCert: demands, rejectUnauthorized: demands },
    ...(demands ? { ca: clientCa } : {}),
  };
}

function bind(server: HttpServer | TlsServer, listen: Listen): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const where = `${listen.host ?? ''}:${listen.port}`;
      const hint = isErrno(error, 'EADDRINUSE') ? 'another program listens there' : describe(error);
      reject(new CacheError('startup', `can't listen on ${where}: ${hint}`, error));
    });
    server.listen({ port: listen.port, ...(listen.host === undefined ? {} : { host: listen.host }) }, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

/** Whether the body comes all the same nobody knows: the next request could not be found behind it. */
function refuseExpectation(res: ServerResponse): void {
  const body = 'Expectation Failed: expected 100-continue or none\n';
  res.writeHead(417, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.length,
    'Cache-Control': NEVER,
    Connection: 'close',
  });
  res.end(body);
}

/** What can't be taken for a request gets its status and is cut off. */
function cutOff(socket: Socket, status: number, busy: boolean): void {
  // While an answer is being sent, a second one would be read as part of its body.
  if (busy || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = `${STATUS_CODES[status]}\n`;
  const allow = status === 405 ? 'Allow: GET, HEAD, PUT\r\n' : '';
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${allow}Connection: close\r\n` +
      `Cache-Control: ${NEVER}\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`,
  );
}

function unreadableStatus(code: string | undefined): number {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 431;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 408;
    case 'HPE_INVALID_METHOD':
      return 405;
    default:
      return 400;
  }
}
