// Answers that are ready: narinfos in memory, misses that are remembered, and small NARs that were sent a moment ago, to requests without
// anything unusual. They go out in the turn in which the request came, without a promise or a listener. Whatever else is asked
// goes the long way (handler.ts), which would answer the same, byte for byte: test/http/hot.test.ts compares them.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ReadAhead } from '../ahead/read-ahead.ts';
import type { Cache } from '../cache/cache.ts';
import type { Emit, Request } from '../events.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { mimeOf } from '../nix/object-name.ts';
import type { Access } from './auth.ts';
import { cacheControl, isUnchanged, type Validators, versionHead } from './caching.ts';
import { isOut, whenClosed, whenOver } from './ended.ts';
import { HotNars } from './hot-nars.ts';
import { type Ready, readyText, sendReady } from './send.ts';
import { nowhere, refusal, sentenceOf } from './sentence.ts';

interface HotOptions {
  readonly cache: Pick<Cache, 'ready' | 'readyNar'>;
  readonly readAhead: Pick<ReadAhead, 'narAsked' | 'narInfoAsked'>;
  readonly access: Access;
  readonly emit: Emit;
}

/** `sent` when all of it is with the kernel, `sending` when it is on its way. */
type Way = 'sent' | 'sending';

/** Answers, if that is ready; else does nothing. */
export type Hot = (req: IncomingMessage, res: ServerResponse) => Way | undefined;

/** Of a narinfo, for those who have another version of it or none, and for those who have this one. */
interface Answers extends Validators {
  readonly whole: Ready;
  readonly unchanged: Ready;
}

export function createHot({ access, cache, emit, readAhead }: HotOptions): Hot {
  const missing = readyText(404, refusal(404, sentenceOf(nowhere())));
  const answers = {
    open: new WeakMap<KnownNarInfo, Answers>(),
    closed: new WeakMap<KnownNarInfo, Answers>(),
  };
  const nars = new HotNars(cache);

  function answersOf(known: KnownNarInfo, open: boolean): Answers {
    const made = open ? answers.open : answers.closed;
    let found = made.get(known);
    if (found === undefined) {
      found = makeAnswers(known, open);
      made.set(known, found);
    }
    return found;
  }

  function narInfo(req: IncomingMessage, res: ServerResponse, url: string): Way | undefined {
    const ready = cache.ready(url);
    if (ready === undefined || !access.mayRead(req)) return undefined;
    const started = performance.now();
    let answer = missing;
    if (ready !== 'missing') {
      const isGet = req.method === 'GET';
      readAhead.narInfoAsked(ready.info.hashPart, isGet ? access.clientOf(req) : undefined);
      const known = answersOf(ready, access.isOpenTo(req));
      answer = isUnchanged(req.headers, known) ? known.unchanged : known.whole;
    }
    const bytes = sendReady(req, res, answer);
    const how = ready === 'missing' ? undefined : 'hit';
    return told(req, res, { what: 'narinfo', status: answer.status, how, bytes }, started);
  }

  function nar(req: IncomingMessage, res: ServerResponse, url: string): Way | undefined {
    if (!isForAll(req)) return undefined;
    const asked = nars.askedBy(url);
    if (asked === undefined || !access.mayRead(req)) return undefined;
    const started = performance.now();
    const ready = nars.ready(asked, access.isOpenTo(req));
    if (ready === undefined) return undefined;
    const { body, head } = ready;
    readAhead.narAsked(asked.name, access.clientOf(req), whenClosed(res));
    res.writeHead(200, head as string[]);
    res.end(body.bytes);
    const bytes = body.bytes.length;
    return told(req, res, { what: 'nar', status: 200, how: 'hit', bytes }, started, body.giveBack);
  }

  /** Says what was answered, once that is over; `over` is called then. */
  function told(
    req: IncomingMessage,
    res: ServerResponse,
    answer: Pick<Request, 'bytes' | 'how' | 'status' | 'what'>,
    started: number,
    over?: (still: boolean) => void,
  ): Way {
    const event: Request = {
      kind: 'request',
      client: access.addressOf(req),
      method: req.method ?? '',
      target: req.url ?? '',
      ...answer,
      whole: true,
      ms: performance.now() - started,
    };
    if (isOut(res)) {
      over?.(false);
      emit(event);
      return 'sent';
    }
    whenOver(res, (whole) => {
      over?.(!whole);
      // How much of a NAR went out of one that was left, nobody knows.
      const bytes = whole || over === undefined ? event.bytes : 0;
      emit({ ...event, bytes, whole, ms: performance.now() - started });
    });
    return 'sending';
  }

  return (req, res) => {
    const { method = '', url = '' } = req;
    if (!isPlain(req, method)) return undefined;
    return url.startsWith('/nar/') ? nar(req, res, url) : narInfo(req, res, url);
  };
}

/** Whether nothing about the request needs more than what is ready: no body, no way through other caches, and HTTP/1.1. */
function isPlain({ headers, httpVersion }: IncomingMessage, method: string): boolean {
  return (
    (method === 'GET' || method === 'HEAD') &&
    httpVersion === '1.1' &&
    headers.via === undefined &&
    headers['content-length'] === undefined &&
    headers['transfer-encoding'] === undefined
  );
}

/** Whether it gets the whole, whatever it has. */
function isForAll({ headers, method }: IncomingMessage): boolean {
  return (
    method === 'GET' &&
    headers.range === undefined &&
    headers['if-none-match'] === undefined &&
    headers['if-modified-since'] === undefined
  );
}

function makeAnswers({ modified, served, sha256 }: KnownNarInfo, open: boolean): Answers {
  const validators = { etag: `"${sha256}"`, modified };
  const version = versionHead(validators, cacheControl(false, open));
  const head = [...version, 'Content-Type', mimeOf('narinfo'), 'Content-Length', `${served.length}`];
  return {
    ...validators,
    whole: { status: 200, head, body: served },
    unchanged: { status: 304, head: version, body: '' },
  };
}
