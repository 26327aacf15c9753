import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { Ahead } from '../../lib/sync/ahead.ts';
import { Slots } from '../../lib/sync/slots.ts';
import { defer } from '../fixtures/defer.ts';
import { askerOf, identity, startHttp2 } from '../fixtures/http2.ts';
import { until } from '../fixtures/patience.ts';

const { NGHTTP2_CANCEL, NGHTTP2_HTTP_1_1_REQUIRED, NGHTTP2_REFUSED_STREAM } = constants;

const times = (n: number) => Array.from({ length: n }, (_, index) => index);
const answer = (stream: ServerHttp2Stream, body = 'x', headers = {}) => {
  stream.respond({ ':status': 200, ...headers });
  stream.end(body);
};

test('an answer over HTTP/2 has the shape of one over HTTP/1.1', async (t) => {
  let asked: object = {};
  const site = await startHttp2(t, (stream, headers) => {
    asked = { ...headers };
    stream.additionalHeaders({ ':status': 103, link: '</a>' });
    stream.respond({ ':status': 206, 'content-length': 4, 'x-a': 'b' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => {
      if (!stream.sentTrailers) stream.sendTrailers({ 'x-late': 'c' });
    });
    stream.end('body');
  });
  const { ask } = askerOf(t, site);
  const response = await ask('/a/b?c=d', { headers: { authorization: 'Basic eDp5', range: 'bytes=0-3' } });
  const { headers, httpVersionMajor, statusCode, statusMessage } = response;
  assert.deepEqual([statusCode, statusMessage, httpVersionMajor], [206, 'Partial Content', 2]);
  assert.equal(headers['content-length'], '4');
  assert.equal(headers['x-a'], 'b');
  assert.ok(!Object.keys(headers).some((name) => name.startsWith(':')));
  assert.equal(response.socket.remoteAddress, '127.0.0.1');
  assert.equal(String(Buffer.concat(await response.toArray())), 'body');
  const { authorization, range } = asked as Record<string, string>;
  assert.deepEqual([authorization, range], ['Basic eDp5', 'bytes=0-3']);
  const names = Object.keys(asked).filter((name) => name.startsWith(':'));
  assert.deepEqual(names.sort(), [':authority', ':method', ':path', ':scheme']);
  assert.ok(!('host' in asked) && !('connection' in asked));
  assert.equal((asked as Record<string, string>)[':authority'], `localhost:${site.port}`);
  assert.equal((asked as Record<string, string>)[':path'], '/a/b?c=d');
});

test('many that ask at once wait for one connection, and share it', async (t) => {
  const held: ServerHttp2Stream[] = [];
  const site = await startHttp2(t, (stream) => held.push(stream));
  const { text } = askerOf(t, site);
  const all = times(80).map((n) => text(`/${n}`));
  await until(() => held.length === 80, 'all 80 to be under way');
  assert.equal(site.sockets.total, 1);
  for (const stream of held) answer(stream);
  assert.deepEqual(await Promise.all(all), times(80).fill('x' as never));
});

test('a server that has only HTTP/1.1 is asked so, over the connection that told', async (t) => {
  const paths: string[] = [];
  let sockets = 0;
  const server = createHttpsServer(identity, (req, res) => {
    paths.push(`${req.httpVersion} ${req.url}`);
    res.end('x');
  }).listen(0, '127.0.0.1');
  server.on('connection', () => sockets++);
  await once(server, 'listening');
  defer(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const { text } = askerOf(t, { url }, { slots: new Slots(4) });
  assert.equal(await text('/1'), 'x');
  assert.equal(sockets, 1);
  await Promise.all(times(8).map((n) => text(`/at-once-${n}`)));
  assert.ok(sockets <= 4, `${sockets} connections for 4 slots`);
  assert.ok(paths.every((path) => path.startsWith('1.1 ')));
});

test('nobody is asked whom no connection reaches; all who waited hear the same, and the next tries again', async (t) => {
  let dialled = 0;
  const { ask } = askerOf(t, { url: 'https://127.0.0.1:1' }, { dialled: () => dialled++ });
  const errors = await Promise.all(times(20).map((n) => ask(`/${n}`).catch((error: unknown) => error)));
  assert.equal(dialled, 1);
  assert.ok(errors.every((error) => error === errors[0] && isCacheError(error, 'upstream')));
  await assert.rejects(ask('/'), /ECONNREFUSED/);
  assert.equal(dialled, 2);
});

test('a dial that nobody waits for any more is given up', async (t) => {
  const site = await startHttp2(t, (stream) => answer(stream));
  const { ask, slots, text } = askerOf(t, site, { slots: new Slots(1) });
  const gone = new AbortController();
  const waiting = ask('/', { signal: gone.signal });
  gone.abort(new Error('gone'));
  await assert.rejects(waiting, (error) => isCacheError(error, 'aborted'));
  const enough = new AbortController();
  const release = await slots.acquire(enough.signal);
  release();
  assert.equal(await text('/'), 'x');
});

test('a body is whole only if its end was said and its length is the announced one', async (t) => {
  const site = await startHttp2(t, (stream, { ':path': path }, session) => {
    const [, how, length] = /^\/(\w+)-?(\d*)$/.exec(String(path)) ?? [];
    stream.respond({ ':status': 200, ...(length ? { 'content-length': length } : {}) });
    if (how === 'whole') stream.end('StorePath: /nix/store/x\n');
    else if (how === 'short') stream.end('StorePath\n');
    else {
      stream.write('StorePath: /nix/store/x\n');
      stream.session?.ping(() => {
        if (how === 'dies') session.destroy();
        if (how === 'cut') site.cut();
        if (how === 'reset') stream.destroy(new Error('reset'));
      });
    }
  });
  const { text } = askerOf(t, site);
  assert.equal((await text('/whole')).length, 24);
  assert.equal((await text('/whole-24')).length, 24);
  for (const how of ['short-24', 'dies', 'dies-24', 'dies-1000', 'cut', 'cut-24', 'reset'])
    await assert.rejects(text(`/${how}`), /aborted/, how);
  assert.equal((await text('/whole')).length, 24);
});

test('who has not been processed is asked again, and nobody notices', async (t) => {
  let refused = 0;
  const site = await startHttp2(t, (stream, _headers, session) => {
    const { id = 0 } = stream;
    // Each connection takes so many, and says only then that it does not take more.
    if (id > 39) {
      refused++;
      session.goaway(0, 39);
      stream.close(NGHTTP2_REFUSED_STREAM);
      return;
    }
    setTimeout(() => answer(stream), 5);
  });
  const { text } = askerOf(t, site);
  const all = await Promise.all(times(90).map((n) => text(`/${n}`)));
  assert.equal(all.length, 90);
  assert.ok(refused > 0);
  assert.ok(site.sockets.total >= 5);
});

test('who refuses every time has failed', async (t) => {
  const site = await startHttp2(t, (stream) => stream.close(NGHTTP2_REFUSED_STREAM));
  const { text } = askerOf(t, site);
  await assert.rejects(
    text('/'),
    (error) => isCacheError(error, 'upstream') && /REFUSED_STREAM/.test(error.message),
  );
  assert.ok(site.requests.total <= 10);
});

test('no more is asked at once than the peer allows, nor than we do', async (t) => {
  for (const [maxConcurrentStreams, most] of [
    [3, 3],
    [1000, 128],
  ] as const) {
    const site = await startHttp2(t, (stream) => setTimeout(() => answer(stream), 20), {
      settings: { maxConcurrentStreams },
    });
    const { text } = askerOf(t, site, { most: 1 });
    await text('/');
    await Promise.all(times(3 * most + 1).map((n) => text(`/${n}`)));
    assert.equal(site.requests.most, most);
    assert.equal(site.sockets.most, 1);
  }
});

test('what was under way when a connection died that had answered is asked again; on a fresh one it has failed', async (t) => {
  let isDying = false;
  const site = await startHttp2(t, (stream, { ':path': path }, session) => {
    if (path === '/never') return session.destroy();
    if (!isDying) return answer(stream);
    isDying = false;
    return session.destroy();
  });
  const { text } = askerOf(t, site);
  await assert.rejects(text('/never'), (error) => isCacheError(error, 'upstream'));
  assert.equal(site.requests.total, 1, 'not asked again');
  await text('/');
  isDying = true;
  await Promise.all(times(20).map((n) => text(`/${n}`)));
  assert.equal(site.sockets.total, 3);
});

test('whoever dies at every request has failed, and is not asked for ever', async (t) => {
  const site = await startHttp2(t, (stream, { ':path': path }, session) => {
    if (path === '/good') answer(stream);
    else session.destroy();
  });
  const { text } = askerOf(t, site);
  await text('/good');
  await assert.rejects(text('/bad'), (error) => isCacheError(error, 'upstream'));
  assert.ok(site.requests.total <= 5);
});

test('one that is late is not the fault of its connection', async (t) => {
  const site = await startHttp2(t, (stream, { ':path': path }) => {
    if (path !== '/silent') answer(stream);
  });
  const { text } = askerOf(t, site);
  await text('/');
  const late = text('/silent', { firstByteMs: 30 });
  await assert.rejects(late, (error) => isCacheError(error, 'timeout'));
  await text('/');
  assert.equal(site.sockets.total, 1);
  await until(() => site.requests.open === 0, 'the late one to be cancelled');
});

test('who gives up ends one request and no other', async (t) => {
  const codes: number[] = [];
  const held: ServerHttp2Stream[] = [];
  const site = await startHttp2(t, (stream) => {
    stream.once('close', () => codes.push(stream.rstCode));
    stream.respond({ ':status': 200 });
    stream.write('x');
    held.push(stream);
  });
  const { ask, text } = askerOf(t, site);
  const others = text('/others');
  const left = await ask('/left');
  left.on('error', () => {});
  left.destroy(new Error('gone'));
  const gone = new AbortController();
  await until(() => codes.length === 1, 'the first to be cancelled');
  assert.deepEqual(codes, [NGHTTP2_CANCEL]);
  held[0]?.end('y');
  assert.equal(await others, 'xy');
  gone.abort();
  await assert.rejects(ask('/', { signal: gone.signal }), (error) => isCacheError(error, 'aborted'));
  assert.equal(site.sockets.total, 1);
});

test('parts of something large go over connections of their own, and one is left to what is small', async (t) => {
  const held: ServerHttp2Stream[] = [];
  const site = await startHttp2(t, (stream, { ':path': path }) => {
    if (path === '/small') return answer(stream);
    stream.respond({ ':status': 200 });
    return held.push(stream);
  });
  const { ask, text } = askerOf(t, site, { most: 5 });
  await text('/small');
  const first = await ask('/large', { isLarge: true });
  const parts = await Promise.all(times(11).map(() => ask('/large', { isLarge: true, isPart: true })));
  assert.equal(new Set(held.map(({ session }) => session)).size, 4, 'four connections, and one without');
  await text('/small');
  assert.ok(site.sockets.most <= 5, `${site.sockets.most} connections`);
  for (const stream of held) stream.end('x');
  for (const response of [first, ...parts]) await response.toArray();
});

test('a connection has a slot as long as it is open, and gives it up when others wait for it', async (t) => {
  const site = await startHttp2(t, (stream) => answer(stream));
  const slots = new Slots(1);
  const { origins, text } = askerOf(t, site, { slots });
  slots.whenCrowded(() => origins.giveWay());
  await text('/');
  const release = await slots.acquire(new AbortController().signal);
  const again = text('/');
  release();
  await again;
  assert.equal(site.sockets.total, 2);
});

test('whoever wants HTTP/1.1 is asked so, and from then on', async (t) => {
  const site = await startHttp2(t, (stream) => stream.close(NGHTTP2_HTTP_1_1_REQUIRED), { allowHTTP1: true });
  let time = 0;
  const { text } = askerOf(t, site, { now: () => time });
  const http1 = 'over HTTP/1.1';
  assert.deepEqual([await text('/'), await text('/')], [http1, http1]);
  assert.equal(site.requests.total, 1);
  // Once its connection has ended, it is offered HTTP/2 again.
  time = 11 * 60_000;
  site.cut();
  assert.equal(await text('/'), http1);
  assert.equal(site.requests.total, 2);
});

test('a connection that is not for that name is left, once', async (t) => {
  let asked = 0;
  const site = await startHttp2(t, (stream) => {
    stream.respond({ ':status': ++asked === 1 ? 421 : 200 });
    stream.end();
  });
  const { ask } = askerOf(t, site);
  const response = await ask('/');
  assert.equal(response.statusCode, 200);
  await response.toArray();
  assert.equal(site.sockets.total, 2);
});

test('what is fetched ahead waits until nobody else does', async (t) => {
  const order: string[] = [];
  const held: ServerHttp2Stream[] = [];
  const site = await startHttp2(
    t,
    (stream, { ':path': path }) => {
      if (path === '/') return answer(stream);
      order.push(String(path));
      held.push(stream);
    },
    { settings: { maxConcurrentStreams: 1 } },
  );
  const { text } = askerOf(t, site, { most: 1 });
  await text('/');
  const first = text('/first');
  await until(() => held.length === 1, 'the first');
  const wanted = new Ahead();
  const all = [
    first,
    text('/ahead', { ahead: new Ahead() }),
    text('/wanted', { ahead: wanted }),
    text('/client-1'),
    text('/client-2'),
  ];
  wanted.wanted();
  for (let n = 0; n < all.length; n++) {
    await until(() => held.length > n, `request ${n}`);
    answer(held[n] as ServerHttp2Stream);
  }
  await Promise.all(all);
  assert.deepEqual(order, ['/first', '/client-1', '/client-2', '/wanted', '/ahead']);
});

test('nothing is left when it is closed', async (t) => {
  const site = await startHttp2(t, () => {});
  const { ask, close } = askerOf(t, site);
  const waiting = ask('/');
  await until(() => site.requests.open === 1, 'the request');
  close();
  await assert.rejects(waiting);
  await until(() => site.sockets.open === 0, 'the connection to end');
  await assert.rejects(ask('/'));
});

test('a reader that stands still has bounded bytes waiting for it', async (t) => {
  let sent = 0;
  const site = await startHttp2(t, (stream) => {
    stream.respond({ ':status': 200 });
    const write = () => {
      while (sent < 200 << 20) {
        sent += 1 << 20;
        if (!stream.write(Buffer.alloc(1 << 20))) return void stream.once('drain', write);
      }
      stream.end();
    };
    write();
  });
  const { ask } = askerOf(t, site);
  const response = await ask('/', { isLarge: true });
  let before = -1;
  while (sent !== before) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  assert.ok(sent > 8 << 20, `a line of 8 MiB is filled, and not ${sent} bytes`);
  assert.ok(sent < 40 << 20, `${sent} bytes were taken that nobody reads`);
  response.on('error', () => {}).destroy();
});
