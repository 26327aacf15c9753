import assert from 'node:assert/strict';
import { once, setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { collect } from '../../lib/bytes/streams.ts';
import type { Deadlines, UpstreamConfig } from '../../lib/config/config.ts';
import { parseProxy } from '../../lib/config/proxy.ts';
import { isCacheError } from '../../lib/errors.ts';
import type { Answer } from '../../lib/upstream/answer.ts';
import { Breakers } from '../../lib/upstream/breaker.ts';
import { Upstream } from '../../lib/upstream/upstream.ts';
import { defer, type Owner } from '../fixtures/defer.ts';
import { patiently, until } from '../fixtures/patience.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';
import { startTunnels } from '../fixtures/upstreams.ts';

const quiet = () => {};
const never = new AbortController().signal;
// All that this file asks listens to it, as all that a service asks listens to its stop.
setMaxListeners(0, never);
const PATIENT: Deadlines = { connectMs: 5000, firstByteMs: 10_000, stallMs: 20_000 };
const SOON: Deadlines = { connectMs: 2000, firstByteMs: 200, stallMs: 200 };

interface Origin {
  readonly url: string;
  /** Connections open now, and the most there were. */
  readonly sockets: { open: number; most: number; total: number };
  readonly requests: IncomingMessage[];
}

async function serve(t: Owner, listener: RequestListener): Promise<Origin> {
  const sockets = { open: 0, most: 0, total: 0 };
  const requests: IncomingMessage[] = [];
  const server = createServer((req, res) => {
    requests.push(req);
    listener(req, res);
  });
  server.on('connection', (socket: Socket) => {
    sockets.total++;
    sockets.most = Math.max(sockets.most, ++sockets.open);
    socket.once('close', () => sockets.open--);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(t, () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, requests };
}

function upstreamAt(
  t: Owner,
  url: string,
  more: Partial<UpstreamConfig> = {},
  deadlines = PATIENT,
): Upstream {
  const config = upstreamConfig(url, more);
  const upstream = new Upstream(config, {
    ca: undefined,
    deadlines,
    breakers: new Breakers(quiet),
    emit: quiet,
  });
  defer(t, () => upstream.close());
  return upstream;
}

const get = (upstream: Upstream, path: string, large = false) =>
  upstream.get(upstream.resolve(path), large, never);

async function textOf(answer: Answer | undefined): Promise<string> {
  assert.ok(answer);
  return (await collect(answer.body, 1 << 20, () => assert.fail('too long'))).toString();
}

test('an answer is its body and size; 404, 403 and 410 are misses; all else is a failure, or a refusal for good', async (t) => {
  const origin = await serve(t, (req, res) => {
    const status = Number(req.url?.slice(1));
    res.writeHead(status, { 'content-length': 4 }).end('body');
  });
  const upstream = upstreamAt(t, origin.url);
  const answer = await get(upstream, '200');
  assert.equal(answer?.size, 4);
  assert.equal(await textOf(answer), 'body');
  for (const status of [404, 403, 410]) assert.equal(await get(upstream, `${status}`), undefined);
  const codes = {
    refused: [206, 301, 400, 401, 407, 416],
    upstream: [408, 425, 429, 500, 503],
  } as const;
  for (const [code, statuses] of Object.entries(codes)) {
    for (const status of statuses) {
      await assert.rejects(get(upstream, `${status}`), (error) => {
        return isCacheError(error) && error.code === code && error.message.includes(`${status}`);
      });
    }
  }
});

test('no answer to a name of another cache tells against an upstream', async (t) => {
  let status = 500;
  let type = 'application/json';
  const origin = await serve(t, (_, res) => res.writeHead(status, { 'content-type': type }).end());
  const upstream = upstreamAt(t, origin.url);
  const ask = (foreign: boolean) => upstream.get(upstream.resolve('x'), true, never, { foreign });
  const unknown = (error: unknown) => isCacheError(error, 'not-found');
  for (let i = 0; i < 5; i++) await assert.rejects(ask(true), unknown);
  status = 503;
  for (let i = 0; i < 5; i++) await assert.rejects(ask(true), /503/);
  [status, type] = [200, 'text/html'];
  for (let i = 0; i < 5; i++) await assert.rejects(ask(true), /web page/);
  assert.ok(upstream.health.good);
  [status, type] = [500, 'application/json'];
  await assert.rejects(ask(false), /500/);
});

test('a web page is not a file of a binary cache', async (t) => {
  const origin = await serve(t, (_, res) =>
    res.writeHead(200, { 'content-type': 'text/html' }).end('<p>log in</p>'),
  );
  await assert.rejects(get(upstreamAt(t, origin.url), 'x'), /web page/);
});

test('content codings are undone, also those nobody asked for', async (t) => {
  const codings: Record<string, Buffer | string> = {
    br: brotliCompressSync('plain'),
    gzip: gzipSync('plain'),
    identity: 'plain',
    '': 'plain',
  };
  const origin = await serve(t, (req, res) => {
    const coding = req.url?.slice(1) ?? '';
    res.writeHead(200, { 'content-encoding': coding }).end(codings[coding] ?? 'x');
  });
  const upstream = upstreamAt(t, origin.url);
  for (const coding of Object.keys(codings)) {
    const answer = await get(upstream, coding);
    assert.equal(await textOf(answer), 'plain', coding);
  }
  assert.equal(origin.requests[0]?.headers['accept-encoding'], 'identity');
  await assert.rejects(get(upstream, 'xz'), /Content-Encoding xz/);
});

test('connections are kept and used again', async (t) => {
  const origin = await serve(t, (_, res) => res.end('x'));
  const upstream = upstreamAt(t, origin.url);
  for (let i = 0; i < 10; i++) await textOf(await get(upstream, `${i}`));
  assert.equal(origin.sockets.total, 1);
});

test('a connection through a proxy is kept and used again too, and there are never more than slots', async (t) => {
  const origin = await serve(t, (_, res) => setImmediate(() => res.end('x')));
  const tunnels = await startTunnels(t);
  const upstream = upstreamAt(t, origin.url, { proxy: parseProxy(tunnels.url) });
  for (let i = 0; i < 10; i++) await textOf(await get(upstream, `${i}`));
  assert.equal(tunnels.paths.length, 1);
  await Promise.all(Array.from({ length: 100 }, async (_, i) => textOf(await get(upstream, `${i}`))));
  assert.equal(origin.requests.length, 110);
  assert.ok(tunnels.paths.length <= 16, `${tunnels.paths.length} tunnels`);
  assert.ok(origin.sockets.most <= 16, `${origin.sockets.most} connections at once`);
});

test('no more connections are open than there are slots, however many ask', async (t) => {
  const waiting: ServerResponse[] = [];
  const origin = await serve(t, (_, res) => {
    waiting.push(res);
    setImmediate(() => waiting.shift()?.end('x'));
  });
  const upstream = upstreamAt(t, origin.url);
  const all = Array.from({ length: 200 }, async (_, i) => textOf(await get(upstream, `${i}`)));
  assert.deepEqual(new Set(await Promise.all(all)), new Set(['x']));
  assert.equal(origin.requests.length, 200);
  assert.ok(origin.sockets.most <= 16, `${origin.sockets.most} connections at once`);
  assert.ok(origin.sockets.total <= 16, `${origin.sockets.total} connections in all`);
});

test('a slot is given back when its connection can be used again, so that one slot needs one connection', async (t) => {
  const origin = await serve(t, (_, res) => setImmediate(() => res.end('x')));
  const upstream = upstreamAt(t, origin.url, { maxConnections: 2 });
  await Promise.all(Array.from({ length: 20 }, async (_, i) => textOf(await get(upstream, `${i}`))));
  assert.equal(origin.sockets.total, 1);
});

test('a slot is given back when there is no answer, and when nobody reads the answer to its end', async (t) => {
  const origin = await serve(t, (req, res) => {
    if (req.url === '/broken') return void res.socket?.destroy();
    res.write('x');
    if (req.url === '/whole') res.end();
  });
  const upstream = upstreamAt(t, origin.url, { maxConnections: 2 });
  await assert.rejects(get(upstream, 'broken'), (error) => isCacheError(error, 'upstream'));
  const unread = await get(upstream, 'unread');
  unread?.body.destroy();
  assert.equal(await patiently(textOf(await patiently(get(upstream, 'whole'), 'a slot')), 'its body'), 'x');
});

test('large answers that fill their slots do not hold up small ones', async (t) => {
  const origin = await serve(t, (req, res) => {
    res.write('x');
    if (req.url === '/small') res.end();
  });
  const upstream = upstreamAt(t, origin.url);
  const large = await Promise.all(Array.from({ length: 16 }, () => get(upstream, 'large', true)));
  const gone = new AbortController();
  const waiting = upstream.get(upstream.resolve('large'), true, gone.signal);
  assert.equal(await textOf(await get(upstream, 'small')), 'x');
  gone.abort();
  await assert.rejects(waiting, (error) => isCacheError(error, 'aborted'));
  for (const answer of large) answer?.body.destroy();
});

test('a kept connection that the other side has closed is no failure', async (t) => {
  const origin = createTcpServer((socket) => {
    socket.on('error', () => {});
    let answered = false;
    // Says that it keeps the connection, and resets it at the next request.
    socket.on('data', () => {
      if (answered) socket.resetAndDestroy();
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx');
      answered = true;
    });
  });
  origin.listen(0, '127.0.0.1');
  await once(origin, 'listening');
  defer(t, () => origin.close());
  const upstream = upstreamAt(t, `http://127.0.0.1:${(origin.address() as AddressInfo).port}`);
  for (let i = 0; i < 5; i++) assert.equal(await textOf(await get(upstream, `${i}`)), 'x');
});

test('redirects are followed, and credentials stay with the upstream they are for', async (t) => {
  const other = await serve(t, (_, res) => res.end('there'));
  const origin = await serve(t, (req, res) => {
    const to: Record<string, string> = {
      '/a/x': `${other.url}/y`,
      '/a/near': '/a/here',
      '/a/loop': '/a/loop',
      '/a/odd': 'ftp://x/',
    };
    const location = to[req.url ?? ''];
    if (location === undefined) res.end('here');
    else res.writeHead(302, { location }).end('moved');
  });
  const upstream = upstreamAt(t, `${origin.url}/a`, { credentials: { username: 'u', password: 'p' } });
  assert.equal(await textOf(await get(upstream, 'x')), 'there');
  assert.equal(await textOf(await get(upstream, 'near')), 'here');
  const expected = `Basic ${Buffer.from('u:p').toString('base64')}`;
  assert.deepEqual(
    origin.requests.map((req) => req.headers.authorization),
    [expected, expected, expected],
  );
  assert.equal(other.requests[0]?.headers.authorization, undefined);
  await assert.rejects(
    get(upstream, 'loop'),
    (error) => isCacheError(error, 'refused') && /more than 10 times/.test(error.message),
  );
  await assert.rejects(get(upstream, 'odd'), /ftp:/);
});

test('where a redirect leads is told when that fails, but not the signature with which anybody could fetch it', async (t) => {
  const silent = await serve(t, () => {});
  const cut = await serve(t, (req) => req.destroy());
  for (const { url } of [silent, cut]) {
    const origin = await serve(t, (_, res) =>
      res.writeHead(302, { location: `${url}/bucket/x?X-Amz-Signature=abc` }).end(),
    );
    await assert.rejects(get(upstreamAt(t, origin.url, {}, SOON), 'x'), ({ message }: Error) => {
      assert.ok(message.includes(`${url}/bucket/x?…`), message);
      return !message.includes('abc');
    });
  }
});

test('an upstream that is silent before or within an answer is given up in time', async (t) => {
  const origin = await serve(t, (req, res) => {
    if (req.url === '/body') res.write('some');
  });
  const upstream = upstreamAt(t, origin.url, {}, { ...SOON, firstByteMs: 1000 });
  await assert.rejects(get(upstream, 'head'), (error) => isCacheError(error, 'timeout'));
  const answer = await get(upstream, 'body');
  await assert.rejects(
    textOf(answer),
    (error) => isCacheError(error, 'timeout') && /no byte/.test(error.message),
  );
});

test('a reader that takes its time is no stall', async (t) => {
  const origin = await serve(t, (_, res) => res.end(Buffer.alloc(3 << 20, 'x')));
  const deadlines = { ...SOON, firstByteMs: 20_000, stallMs: 500 };
  const answer = await get(upstreamAt(t, origin.url, {}, deadlines), 'x');
  assert.ok(answer);
  let size = 0;
  let paused = false;
  for await (const chunk of answer.body) {
    size += chunk.length;
    if (!paused) await new Promise((resolve) => setTimeout(resolve, 1200));
    paused = true;
  }
  assert.equal(size, 3 << 20);
});

test('a body that breaks off is a failure of the upstream, with or without a length', async (t) => {
  const origin = await serve(t, (req, res) => {
    if (req.url === '/sized') res.setHeader('content-length', 100);
    res.write('some', () => res.destroy());
  });
  const upstream = upstreamAt(t, origin.url);
  for (const path of ['sized', 'chunked']) {
    await assert.rejects(textOf(await get(upstream, path)), (error) => isCacheError(error, 'upstream'), path);
  }
});

test('an aborted request lets go of its connection', async (t) => {
  const origin = await serve(t, () => {});
  const upstream = upstreamAt(t, origin.url);
  const gone = new AbortController();
  const asked = upstream.get(upstream.resolve('x'), false, gone.signal);
  await until(() => origin.requests.length > 0, 'a request');
  const closed = once(origin.requests[0]?.socket as Socket, 'close');
  gone.abort();
  await assert.rejects(asked, (error) => isCacheError(error, 'aborted'));
  await closed;
});

test('a narinfo may name its NAR anywhere, but only over HTTP', (t) => {
  const upstream = upstreamAt(t, 'https://x.org/cache');
  const cases: [string, string][] = [
    ['nar/a.nar', 'https://x.org/cache/nar/a.nar'],
    ['nar/a.nar?hash=b', 'https://x.org/cache/nar/a.nar?hash=b'],
    ['../nar/a.nar', 'https://x.org/nar/a.nar'],
    ['/nar/a.nar', 'https://x.org/nar/a.nar'],
    ['//y.org/a.nar', 'https://y.org/a.nar'],
    ['http://u:p@y.org/a.nar', 'http://y.org/a.nar'],
  ];
  for (const [reference, url] of cases) assert.equal(upstream.resolve(reference).href, url);
  assert.throws(
    () => upstream.resolve('file:///etc/passwd'),
    (error) => isCacheError(error, 'upstream'),
  );
});
