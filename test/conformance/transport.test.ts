// Section 8 of docs/protocol.md, "Transport": headers, methods, errors, and connections used again after each of them.
//
// 66, a connection idle for 100 s, is tested by what the service says about its time-out: the wait would be long.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { get, push } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { assertClean, rawConnect, requestText } from '../fixtures/raw-client.ts';
import {
  chunked,
  type Handler,
  startUpstream,
  status,
  truncatedChunked,
  whole,
} from '../fixtures/upstream.ts';

const one = makePackage('transport', { size: 100_000 });
const cold = makePackage('transport-cold', { size: 100_000 });
const LOG = `/log/${cold.base}.drv`;
const S3 = '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce</Message></Error>';
const DENIED = S3.replace('SlowDown', 'AccessDenied');
const BAD_HEADERS = {
  etag: '',
  'content-encoding': 'identity',
  'retry-after': '3600',
  link: '<x>; rel="immutable"',
};

/** A path, and what the upstream says about it. */
const ANSWERS: Record<string, [path: string, handler: Handler, expected: readonly number[]]> = {
  'a narinfo': [cold.narInfoPath, whole(cold.narInfo, BAD_HEADERS), [200]],
  'a NAR': [cold.narPath, whole(cold.file, BAD_HEADERS), [200]],
  'a log': [LOG, whole('text', BAD_HEADERS), [200]],
  'a miss': [cold.narInfoPath, status(404, S3, { 'content-type': 'application/xml', ...BAD_HEADERS }), [404]],
  'a refusal': [cold.narPath, status(403, DENIED, { etag: '', 'content-encoding': 'identity' }), [404]],
  'a refusal for a while': [cold.narPath, status(403, S3, BAD_HEADERS), [502, 504]],
  'too many requests': [cold.narInfoPath, status(429, S3, BAD_HEADERS), [502, 504]],
  'an outage': [cold.narPath, status(503, `<html>${'x'.repeat(5000)}</html>`, BAD_HEADERS), [502, 504]],
  'a failure': [LOG, status(500, S3, BAD_HEADERS), [502, 504]],
};
for (const [what, [path, handler, expected]] of Object.entries(ANSWERS)) {
  test(`65, 68: upstream's ${what} → no empty ETag, no identity, no Retry-After, short text`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.on(path, handler);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const client = await rawConnect(t, service.url);
    for (let i = 0; i < 2; i++) {
      client.send(requestText(`GET ${path} HTTP/1.1`));
      const reply = await client.reply();
      assert.ok(expected.includes(reply.status), `found ${reply.status}`);
      assertClean(reply, what);
    }
  });
}

test('66: connections are kept for more than 100 s of idleness', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  client.send(requestText('GET /nix-cache-info HTTP/1.1'));
  const { headers } = await client.reply();
  assert.equal(headers.connection ?? 'keep-alive', 'keep-alive');
  const [, seconds] = /timeout=(\d+)/.exec(headers['keep-alive'] ?? '') ?? [];
  assert.ok(Number(seconds) > 100, `Keep-Alive: ${headers['keep-alive']}`);
});

const METHODS = ['DELETE', 'POST', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'MKCOL', 'PURGE'];
for (const method of METHODS) {
  test(`67: ${method} → 405 with Allow, nothing deleted`, async (t) => {
    const service = await startTestService(t);
    await push(service.url, one);
    for (const path of [one.narInfoPath, one.narPath, '/nix-cache-info', '/']) {
      const client = await rawConnect(t, service.url);
      client.send(requestText(`${method} ${path} HTTP/1.1`, { 'Content-Length': '0' }));
      const reply = await client.reply();
      assert.equal(reply.status, 405, path);
      assert.match(reply.headers.allow ?? '', /GET.*HEAD/);
      assertClean(reply, path);
    }
    for (const path of [one.narInfoPath, one.narPath])
      assert.equal((await get(service.url, path)).status, 200);
  });
}

test('67: a word that is no method of HTTP → 400, 405 or 501, no HTML', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  client.send(requestText('FETCH /nix-cache-info HTTP/1.1'));
  const reply = await client.reply();
  assert.ok([400, 405, 501].includes(reply.status));
  assertClean(reply, 'FETCH');
});

test('67: CONNECT → 405 with Allow, the connection closed, the service goes on', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  const connecting = 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n';
  client.send(connecting);
  const reply = await client.reply();
  assert.deepEqual([reply.status, reply.headers.allow], [405, 'GET, HEAD, PUT']);
  assertClean(reply, 'CONNECT');
  assert.equal((await client.closed()).length, 0);
  for (let i = 0; i < 50; i++) {
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    await once(socket, 'connect');
    // It is gone before the answer is.
    socket.write(connecting, () => socket.resetAndDestroy());
    await once(socket, 'close');
  }
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
});

test('66: requests sent together are answered in their order, HEAD without a body', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(cold.narPath, chunked(cold.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  const client = await rawConnect(t, service.url);
  const requests: [method: string, path: string, status: number][] = [
    ['GET', cold.narPath, 200],
    ['HEAD', one.narPath, 200],
    ['GET', '/nix-cache-info', 200],
    ['HEAD', one.narInfoPath, 200],
    ['HEAD', '/nix-cache-info', 200],
    ['HEAD', '/no/such/thing', 404],
    ['HEAD', makePackage('x').narInfoPath, 404],
    ['GET', one.narPath, 200],
  ];
  client.send(requests.map(([method, path]) => requestText(`${method} ${path} HTTP/1.1`)).join(''));
  for (const [method, path, expected] of requests) {
    assert.equal((await client.reply({ head: method === 'HEAD' })).status, expected, `${method} ${path}`);
  }
  assert.equal(client.pending.length, 0);
});

test('23: an HTTP/1.0 client → whole answers without chunks, ended by the end of the connection', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(cold.narPath, chunked(cold.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  for (const [path, body] of [
    [one.narPath, one.file],
    [cold.narPath, cold.file],
  ] as const) {
    const client = await rawConnect(t, service.url);
    client.send(`GET ${path} HTTP/1.0\r\n\r\n`);
    const reply = await client.reply();
    assert.equal(reply.status, 200);
    assert.equal(reply.headers['transfer-encoding'], undefined);
    assert.ok(reply.body.equals(body));
    await client.closed();
  }
});

test('31: an answer in chunks that fails has no last chunk', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(cold.narPath, truncatedChunked(cold.file, 50_000));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const client = await rawConnect(t, service.url);
  client.send(requestText(`GET ${cold.narPath} HTTP/1.1`));
  const all = await client.closed();
  assert.match(all.toString('latin1'), /^HTTP\/1\.1 (200|50[24]) /);
  if (all.toString('latin1').startsWith('HTTP/1.1 200'))
    assert.notEqual(all.subarray(-5).toString(), '0\r\n\r\n');
});

test('clients that leave in the middle of a NAR, stored or on its way, are no warning in the log', async (t) => {
  const large = makePackage('transport-left', { size: 30 << 20 });
  const upstream = await startUpstream(t);
  upstream.on(large.narInfoPath, whole(large.narInfo));
  upstream.on(large.narPath, whole(large.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const path = `/${/^URL: (.*)$/m.exec((await get(service.url, large.narInfoPath)).text)?.[1]}`;
  for (const round of ['on its way', 'stored']) {
    const leaving = Array.from({ length: 8 }, async (_, i) => {
      const client = await rawConnect(t, service.url);
      const range = { Range: `bytes=${i << 20}-` };
      client.send(requestText(`GET ${path} HTTP/1.1`, i % 2 === 0 ? range : {}));
      await client.some(10_000);
      client.destroy();
    });
    await Promise.all(leaving);
    assert.equal((await get(service.url, path)).body.length, large.file.length, round);
  }
  const cut = () => service.log.filter((line) => / cut /.test(line)).length === 16;
  await until(cut, 'all that left to be noted as cut');
  assert.deepEqual(
    service.log.filter((line) => !line.startsWith('info ')),
    [],
  );
});
