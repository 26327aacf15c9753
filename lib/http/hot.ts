// Answers that are ready: narinfos in memory, and misses that are remembered, to requests without anything unusual. They go out in the turn
// in which the request came, without a promise, a listener or a file. Whatever else is asked goes the long way (handler.ts), which
// would answer the same, byte for byte: test/http/hot.test.ts compares them.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ReadAhead } from '../ahead/read-ahead.ts';
import type { Cache } from '../cache.ts';
import type { Emit, Request } from '../events.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { mimeOf } from '../nix/object-name.ts';
import type { Access } from './auth.ts';
import { cacheControl, isUnchanged, type Validators, versionHead } from './caching.ts';
import { isOut, whenOver } from './ended.ts';
import { type Ready, readyText, sendReady } from './send.ts';
import { nowhere, refusal, sentenceOf } from './sentence.ts';

interface HotOptions {
  readonly cache: Pick<Cache, 'ready'>;
  readonly readAhead: Pick<ReadAhead, 'narInfoAsked'>;
  readonly access: Access;
  readonly emit: Emit;
}

/** Answers, if that is ready: `sent` when all of it is with the kernel, `sending` when it is on its way; else does nothing. */
export type Hot = (req: IncomingMessage, res: ServerResponse) => 'sent' | 'sending' | undefined;

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

  function answersOf(known: KnownNarInfo, open: boolean): Answers {
    const made = open ? answers.open : answers.closed;
    let found = made.get(known);
    if (found === undefined) {
      found = makeAnswers(known, open);
      made.set(known, found);
    }
    return found;
  }

  return (req, res) => {
    const { method = '', url = '' } = req;
    if (!isPlain(req, method)) return undefined;
    const ready = cache.ready(url);
    if (ready === undefined || !access.mayRead(req)) return undefined;
    const started = performance.now();
    let answer = missing;
    if (ready !== 'missing') {
      readAhead.narInfoAsked(ready.info.hashPart, method === 'GET' ? access.clientOf(req) : undefined);
      const known = answersOf(ready, access.isOpenTo(req));
      answer = isUnchanged(req.headers, known) ? known.unchanged : known.whole;
    }
    const bytes = sendReady(req, res, answer);
    const event: Request = {
      kind: 'request',
      client: access.addressOf(req),
      method,
      target: url,
      what: 'narinfo',
      status: answer.status,
      how: ready === 'missing' ? undefined : 'hit',
      whole: true,
      bytes,
      ms: performance.now() - started,
    };
    if (isOut(res)) {
      emit(event);
      return 'sent';
    }
    whenOver(res, (whole) => emit({ ...event, whole, ms: performance.now() - started }));
    return 'sending';
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
