import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { collect } from '../../lib/bytes/streams.ts';
import type { Deadlines } from '../../lib/config/config.ts';
import { CacheError, isCacheError, share } from '../../lib/errors.ts';
import type { CacheEvent } from '../../lib/events.ts';
import { Breakers } from '../../lib/upstream/breaker.ts';
import { Upstream } from '../../lib/upstream/upstream.ts';
import { defer, type Owner } from '../fixtures/defer.ts';
import { ca, startHttp2 } from '../fixtures/http2.ts';
import { deadPort } from '../fixtures/origin.ts';
import { until } from '../fixtures/patience.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const never = new AbortController().signal;
setMaxListeners(0, never);
const PATIENT: Deadlines = { connectMs: 20_000, firstByteMs: 20_000, stallMs: 20_000 };
const times = (n: number) => Array.from({ length: n }, (_, index) => index);

function upstreamAt(t: Owner, url: string, deadlines = PATIENT) {
  const events: CacheEvent[] = [];
  const emit = (event: CacheEvent) => void events.push(event);
  const upstream = new Upstream(upstreamConfig(url), {
    ...{ ca: [ca], deadlines, emit },
    breakers: new Breakers(emit),
  });
  defer(t, () => upstream.close());
  const get = (path: string, large = false) => upstream.get(upstream.resolve(path), large, never);
  const text = async (path: string, large = false) => {
    const answer = await get(path, large);
    assert.ok(answer);
    return String(await collect(answer.body, 1 << 20, () => new CacheError('upstream', 'too long')));
  };
  return { upstream, events, get, text };
}

test('a body without a length is delimited, a miss is a miss, and a redirect is followed', async (t) => {
  const site = await startHttp2(t, (stream, { ':path': path }) => {
    if (path === '/here') {
      stream.respond({ ':status': 200 });
      stream.end('here');
    } else if (path === '/moved') stream.respond({ ':status': 302, location: '/here' }, { endStream: true });
    else stream.respond({ ':status': 404 }, { endStream: true });
  });
  const { get, text } = upstreamAt(t, site.url);
  const answer = await get('here');
  assert.equal(answer?.delimited, true);
  answer?.body.destroy();
  assert.equal(await text('moved'), 'here');
  assert.equal(await get('elsewhere'), undefined);
  assert.equal(site.sockets.total, 1);
});

test('a connection is there before anybody asks, once, where one can be had', async (t) => {
  const site = await startHttp2(t, (stream) => stream.respond({ ':status': 404 }, { endStream: true }));
  const { get, upstream } = upstreamAt(t, site.url);
  upstream.prepare();
  upstream.prepare();
  await until(() => site.sessions.length === 1, 'the connection');
  upstream.prepare();
  await get('here');
  assert.equal(site.sockets.total, 1);

  // Who asks meanwhile waits for the same.
  const other = upstreamAt(t, site.url);
  other.upstream.prepare();
  await Promise.all(times(10).map((n) => other.get(`${n}`)));
  assert.equal(site.sockets.total, 2);

  const dead = upstreamAt(t, `https://127.0.0.1:${await deadPort()}`);
  for (const _ of times(10)) {
    dead.upstream.prepare();
    await new Promise(setImmediate);
  }
  assert.ok(dead.upstream.health.good, 'nobody has asked it yet');
  assert.deepEqual(dead.events, []);
  await assert.rejects(dead.get('here'), { code: 'upstream' });
});

test('a connection that does not come about is one failure, however many waited for it', async (t) => {
  const { events, get, upstream } = upstreamAt(t, `https://127.0.0.1:${await deadPort()}`);
  const askMany = () => Promise.all(times(20).map((n) => get(`${n}`).catch((error: unknown) => error)));
  for (const error of await askMany()) assert.ok(isCacheError(error, 'upstream'));
  assert.ok(upstream.health.good, 'one is not enough');
  await askMany();
  assert.ok(upstream.health.good, 'nor are two');
  await askMany();
  assert.ok(!upstream.health.good);
  const told = events.filter(({ kind }) => kind === 'upstream-request');
  assert.equal(told.length, 60, 'each is told');
});

test('a connection that ends is one failure, however many bodies it takes along', async (t) => {
  const site = await startHttp2(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('x');
  });
  const { get, upstream } = upstreamAt(t, site.url);
  const answers = await Promise.all(times(10).map((n) => get(`${n}`)));
  const bodies = answers.map(async (answer) => {
    for await (const _ of answer?.body ?? []);
  });
  site.cut();
  for (const one of await Promise.allSettled(bodies))
    assert.ok(one.status === 'rejected' && isCacheError(one.reason, 'upstream'));
  assert.ok(upstream.health.good);
});

test('failures that have one cause count once', () => {
  const breaker = new Breakers(() => {}).make('x');
  const cause = share(new Error('the connection'));
  for (const n of times(5)) breaker.failed(new CacheError('upstream', `${n}`, cause), `${n}`);
  assert.equal(breaker.open, false);
  for (const n of times(2)) breaker.failed(new CacheError('upstream', `${n}`), `other ${n}`);
  assert.equal(breaker.open, true);
});

test('a body that stalls is late, and its connection goes on', async (t) => {
  const site = await startHttp2(t, (stream, { ':path': path }) => {
    stream.respond({ ':status': 200 });
    if (path === '/stalls') stream.write('x');
    else stream.end('x');
  });
  const { get, text } = upstreamAt(t, site.url, { ...PATIENT, stallMs: 50 });
  const stalls = (await get('stalls'))?.body ?? [];
  await assert.rejects(
    async () => {
      for await (const _ of stalls);
    },
    (error) => isCacheError(error, 'timeout'),
  );
  assert.equal(await text('fine'), 'x');
  await until(() => site.requests.open === 0, 'the stalled one to be cancelled');
  assert.equal(site.sockets.total, 1);
});

test('whoever takes connections and says nothing is late at connecting', async (t) => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  defer(t, () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const { get } = upstreamAt(t, `https://127.0.0.1:${port}`, { ...PATIENT, connectMs: 50 });
  const errors = await Promise.all(times(5).map((n) => get(`${n}`).catch((error: unknown) => error)));
  for (const error of errors) assert.ok(isCacheError(error, 'timeout'), `${error}`);
  assert.equal(sockets.size, 1);
});
