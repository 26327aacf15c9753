// One request: route → auth → find or put → answer → one event. The only place where codes become statuses.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ReadAhead } from '../ahead/read-ahead.ts';
import { collect } from '../bytes/streams.ts';
import type { Cache } from '../cache/cache.ts';
import { CacheError, type ErrorCode, isCacheError } from '../errors.ts';
import type { Emit, Request } from '../events.ts';
import { type CacheInfo, formatCacheInfo, storeDirOf } from '../nix/cache-info.ts';
import type { ObjectName } from '../nix/object-name.ts';
import type { Uploads } from '../upload/upload.ts';
import { isRound, viaHeader, viaOf } from '../upstream/via.ts';
import type { Access } from './auth.ts';
import { cacheControl } from './caching.ts';
import { leaving, whenClosed, whenOver } from './ended.ts';
import { drain, receive } from './receive.ts';
import { isMethod, type Route, route } from './route.ts';
import { sendFound, sendText } from './send.ts';
import { nowhere, refusal, sentenceOf } from './sentence.ts';

interface HandlerOptions {
  readonly cache: Cache;
  readonly uploads: Uploads;
  /** Told what clients ask for. */
  readonly readAhead: Pick<ReadAhead, 'narAsked' | 'narInfoAsked'>;
  readonly cacheInfo: CacheInfo;
  readonly emit: Emit;
  readonly access: Access;
  /** What this service calls itself towards others of its kind. */
  readonly self: string;
  /** How long a client may send nothing in the middle of an upload. */
  readonly stallMs: number;
}

/** Answers a request; `expects` is whether the client waits for 100-continue. Never rejects. */
export type Handler = (req: IncomingMessage, res: ServerResponse, expects: boolean) => Promise<void>;

/** What is told of a request when it has ended, as far as it is known: the one thing that is made of it for others. */
type Record = { -readonly [K in keyof Request]: Request[K] };

const MAX_CACHE_INFO_BYTES = 4096;

export function createHandler(options: HandlerOptions): Handler {
  const { access, cache, readAhead, uploads, emit, self } = options;
  const cacheInfo = Buffer.from(formatCacheInfo(options.cacheInfo));

  async function answer(
    req: IncomingMessage,
    res: ServerResponse,
    expects: boolean,
    record: Record,
  ): Promise<void> {
    introduce(req, res);
    if (!isMethod(req.method)) return refuse(req, res, expects, 405);
    // node:http would also answer `GET /path` alone, which is HTTP/0.9, and what calls itself HTTP/2.0.
    if (req.httpVersionMajor !== 1)
      throw new CacheError('bad-request', `expected HTTP/1.0 or HTTP/1.1, found HTTP/${req.httpVersion}`);
    const wanted = routeOf(req);
    const { kind } = wanted;
    record.what = kind === 'object' ? wanted.name.kind : kind === 'none' ? undefined : kind;
    if (kind === 'health' && req.method !== 'PUT') return sendText(req, res, 200, 'ok');
    const leave = access.check(req, req.method === 'PUT' ? 'push' : 'pull');
    if (leave !== undefined) await leave;
    // Only after the check of rights: a client that may not ask must not learn which names are valid.
    if (kind === 'none') throw wanted.reason;
    if (req.method === 'PUT') return put(req, res, expects, wanted, record);
    switch (wanted.kind) {
      case 'home':
        return sendText(req, res, 200, 'This is a Nix binary cache: give its URL to Nix as a substituter.');
      case 'cache-info':
        res.writeHead(200, {
          'Content-Type': 'text/x-nix-cache-info',
          'Content-Length': cacheInfo.length,
          'Cache-Control': cacheControl(false, access.isOpenTo(req)),
        });
        res.end(req.method === 'HEAD' ? undefined : cacheInfo);
        return;
      case 'object':
        return get(req, res, wanted.name, wanted.pushed, record);
      case 'health':
        return refuse(req, res, expects, 405);
    }
  }

  async function get(
    req: IncomingMessage,
    res: ServerResponse,
    name: ObjectName,
    pushed: boolean,
    record: Record,
  ): Promise<void> {
    // Clients send HEAD before an upload and skip the upload if the answer is 200, so only local files count; but they never use an
    // address from our narinfos for that.
    const localOnly = req.method === 'HEAD' && name.kind === 'nar';
    const via = viaOf(req.headers.via);
    // The request has been here before: an upstream has us as its upstream, and waits for this answer.
    const round = isRound(via, self);
    const left = leaving(res);
    if (!pushed && !round) expect(req, res, name);
    const find = async () => {
      if (pushed) return cache.pushed(name);
      const ready = cache.readyFile(name);
      if (ready !== undefined) return ready;
      if (!localOnly && !round) return cache.find(name, via, left);
      const local = await cache.local(name);
      return local === undefined && !round ? cache.announced(name, via) : local;
    };
    // A client that has wrong bytes must not continue behind them: its whole would be wrong.
    if (!pushed && isRest(req) && cache.hasMisled(name))
      throw new CacheError('not-found', 'what was sent of it was wrong');
    const send = async () => {
      const found = await find();
      if (found === undefined) throw round ? new CacheError('not-found', 'it is not here') : nowhere();
      record.how = found.how;
      await sendFound(req, res, found, access.isOpenTo(req), record);
    };
    await send().catch((error) => {
      // The damaged file is set aside by now, and an upstream may have a good one.
      if (res.headersSent || !isCacheError(error, 'damaged')) throw error;
      return send();
    });
  }

  /** Has what the client is likely to ask for next be fetched, unless it speaks for others or wants a head only. */
  function expect(req: IncomingMessage, res: ServerResponse, name: ObjectName): void {
    const isGet = req.method === 'GET';
    if (name.kind === 'narinfo') readAhead.narInfoAsked(name.hash, isGet ? access.clientOf(req) : undefined);
    if (name.kind === 'nar' && isGet) readAhead.narAsked(name, access.clientOf(req), whenClosed(res));
  }

  async function put(
    req: IncomingMessage,
    res: ServerResponse,
    expects: boolean,
    wanted: Route,
    record: Record,
  ): Promise<void> {
    if (wanted.kind === 'home' || wanted.kind === 'health')
      throw new CacheError('bad-request', 'expected the path of a file to upload');
    if (wanted.kind === 'cache-info') await checkCacheInfo(receive(req, res, expects, options.stallMs));
    else {
      await uploads.check(wanted.name, lengthOf(req));
      const body = receive(req, res, expects, options.stallMs);
      await uploads.put(wanted.name, body, leaving(res)(), wanted.pushed);
    }
    record.how = 'put';
    res.writeHead(200, { 'Content-Length': 0 }).end();
  }

  /** Others of our kind are told which one we are, so that they do not ask us for what we ask them for. */
  function introduce(req: IncomingMessage, res: ServerResponse): void {
    if (viaOf(req.headers.via).length > 0) res.setHeader('Via', viaHeader([self]));
  }

  /** Clients offer a new cache its nix-cache-info. We have our own; what matters is that it is the same store. */
  async function checkCacheInfo(body: AsyncIterable<Buffer>): Promise<void> {
    const tooLong = () => new CacheError('too-large', `expected at most ${MAX_CACHE_INFO_BYTES} bytes`);
    const found = storeDirOf((await collect(body, MAX_CACHE_INFO_BYTES, tooLong)).toString());
    if (found === undefined || found === options.cacheInfo.storeDir) return;
    throw new CacheError('invalid', `this cache is for ${options.cacheInfo.storeDir}, not for ${found}`);
  }

  return async (req, res, expects) => {
    const started = performance.now();
    const record: Record = {
      kind: 'request',
      client: access.addressOf(req),
      method: req.method ?? '',
      target: targetOf(req),
      what: undefined,
      status: undefined,
      how: undefined,
      whole: false,
      bytes: 0,
      ms: 0,
    };
    whenOver(res, (whole) => {
      if (res.headersSent) record.status = res.statusCode;
      record.whole = whole;
      record.ms = performance.now() - started;
      emit(record);
    });
    try {
      await answer(req, res, expects, record);
    } catch (error) {
      await fail(req, res, expects, error).catch((again) => emit({ kind: 'answer-failed', error: again }));
    }
  };

  async function fail(
    req: IncomingMessage,
    res: ServerResponse,
    expects: boolean,
    error: unknown,
  ): Promise<void> {
    const status = isCacheError(error) ? statusOf(error.code) : 500;
    const gone = isCacheError(error, 'aborted') || res.destroyed;
    if ((status >= 500 || status === 401 || status === 403) && !gone)
      emit({ kind: 'request-failed', method: req.method ?? '', target: targetOf(req), error });
    if (res.headersSent || gone) {
      // Too late for a status: only a cut connection tells the client that this is not the whole body.
      res.destroy();
      return;
    }
    for (const name of res.getHeaderNames()) res.removeHeader(name);
    introduce(req, res);
    const isTold = isCacheError(error) && (status < 500 || status === 502 || status === 504);
    await refuse(req, res, expects, status, isTold ? sentenceOf(error) : undefined);
  }
}

/** Answers with an error status and a sentence; what lies behind a failure of our own is for the log, not for the client. */
async function refuse(
  req: IncomingMessage,
  res: ServerResponse,
  expects: boolean,
  status: number,
  detail?: string,
): Promise<void> {
  if (status === 405) res.setHeader('Allow', 'GET, HEAD, PUT');
  // Nix sends its netrc credentials unasked; other clients ask their user when they see this header.
  if (status === 401) res.setHeader('WWW-Authenticate', 'Basic realm="nix-binary-cache", charset="UTF-8"');
  const hasBody =
    req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined;
  // A client that was not told to continue may or may not send its body, so the start of the next request is unknown.
  if (hasBody) res.setHeader('Connection', 'close');
  if (hasBody && !expects) await drain(req);
  sendText(req, res, status, refusal(status, detail));
}

/** Whether it asks for all but the beginning. */
function isRest({ headers }: IncomingMessage): boolean {
  return /^bytes=0*[1-9]/.test(headers.range ?? '');
}

function statusOf(code: ErrorCode): number {
  switch (code) {
    case 'bad-request':
    case 'invalid':
      return 400;
    case 'unauthorized':
      return 401;
    case 'forbidden':
      return 403;
    case 'not-found':
      return 404;
    case 'too-large':
      return 413;
    case 'unsupported':
      return 415;
    case 'upstream':
    case 'refused':
    case 'proxy':
      return 502;
    case 'timeout':
      return 504;
    case 'full':
      return 507;
    case 'storage':
    case 'damaged':
    case 'aborted':
    case 'config':
    case 'startup':
      return 500;
  }
}

function routeOf(req: IncomingMessage): Route | { readonly kind: 'none'; readonly reason: unknown } {
  try {
    return route(req.url ?? '/');
  } catch (reason) {
    return { kind: 'none', reason };
  }
}

/** The body's announced length, before its Content-Encoding is undone; undefined for one in chunks. */
function lengthOf(req: IncomingMessage): number | undefined {
  const length = req.headers['content-length'];
  return length === undefined ? undefined : Number(length);
}

/** What was asked for, for the log: a proxy's absolute URL may have a password in it. */
function targetOf(req: IncomingMessage): string {
  return (req.url ?? '').replace(/^[a-z]+:\/\/[^/?#]*/i, '');
}
