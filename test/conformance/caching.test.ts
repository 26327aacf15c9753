// What caches in front, and clients that have asked before, are told: docs/protocol.md, 80 and 85.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, authorization, pulled, pushAs, pushed, TOML } from '../fixtures/caching.ts';
import { get, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { offer } from '../fixtures/static-cache.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

test('85: an ETag that is sent back is answered with 304 and no body, also to HEAD', async (t) => {
  const upstream = await startUpstream(t);
  offer(upstream, pulled);
  const service = await startTestService(t, { upstreams: [upstream.url], toml: TOML });
  await pushAs(service.url);
  const nar = await addressOf(service.url, pulled.narInfoPath);
  await get(service.url, nar);
  for (const path of [
    ...[pushed.narInfoPath, pushed.narPath, `/${pushed.hash}.ls`],
    ...[pulled.narInfoPath, nar],
  ]) {
    const full = await get(service.url, path);
    assert.equal(full.status, 200, path);
    const { etag = '' } = full.headers;
    assert.match(etag, /^"[0-9a-f]{64}"$/, path);
    for (const [method, condition, expected] of [
      ['GET', etag, 304],
      ['HEAD', etag, 304],
      ['GET', `W/${etag}`, 304],
      ['GET', '"another"', 200],
    ] as const) {
      const again = await get(service.url, path, { method, headers: { 'if-none-match': condition } });
      assert.equal(again.status, expected, `${method} ${path} ${condition}`);
      if (expected === 200) continue;
      assert.equal(again.body.length, 0);
      for (const name of ['etag', 'cache-control', 'last-modified'])
        assert.equal(again.headers[name], full.headers[name], `${path} ${name}`);
    }
    const part = await get(service.url, path, { headers: { 'if-none-match': etag, range: 'bytes=0-0' } });
    assert.equal(part.status, 304, path);
  }
});

test('85: the date of an object is when it came, and a narinfo that is rewritten or signed has none', async (t) => {
  const upstream = await startUpstream(t);
  offer(upstream, pulled);
  const before = Math.floor(Date.now() / 1000) * 1000;
  const service = await startTestService(t, { upstreams: [upstream.url], toml: TOML });
  await pushAs(service.url);
  const after = Date.now();
  for (const path of [pushed.narInfoPath, pushed.narPath, `/${pushed.hash}.ls`]) {
    const { headers } = await get(service.url, path);
    const date = headers['last-modified'] ?? '';
    assert.ok(Date.parse(date) >= before && Date.parse(date) <= after, `${path} ${date}`);
    const again = await get(service.url, path, { headers: { 'if-modified-since': date } });
    assert.equal(again.status, 304, path);
  }
  const { headers } = await get(service.url, pulled.narInfoPath);
  assert.equal(headers['last-modified'], undefined);
});

test('80: what may change is kept for a minute, a NAR by its hash for ever, an error by nobody', async (t) => {
  const upstream = await startUpstream(t);
  offer(upstream, pulled);
  const service = await startTestService(t, { upstreams: [upstream.url], toml: TOML });
  await pushAs(service.url);
  const nar = await addressOf(service.url, pulled.narInfoPath);
  const unknown = makePackage('caching-unknown');
  for (const [path, expected] of [
    [pushed.narInfoPath, /^public, max-age=60$/],
    [pulled.narInfoPath, /^public, max-age=60$/],
    [`/${pushed.hash}.ls`, /^public, max-age=60$/],
    ['/nix-cache-info', /^public, max-age=60$/],
    // Cold, and then from the disk.
    [nar, /^public, max-age=31536000, immutable$/],
    [nar, /^public, max-age=31536000, immutable$/],
    [unknown.narInfoPath, /^no-store$/],
    [unknown.narPath, /^no-store$/],
    ['/..', /^no-store$/],
    ['/nothing', /^no-store$/],
    ['/healthz', /^no-store$/],
  ] as const) {
    assert.match((await get(service.url, path)).headers['cache-control'] ?? '', expected, path);
  }
  const range = await get(service.url, nar, { headers: { range: 'bytes=999999-' } });
  assert.equal(range.status, 416);
  assert.equal(range.headers['cache-control'], 'no-store');
  const refused = await put(service.url, '/nix-cache-info', 'StoreDir: /nix/store\n');
  assert.equal(refused.status, 401);
  assert.equal(refused.headers['cache-control'], 'no-store');
});

test('what a token protects is kept by no cache in front', async (t) => {
  const service = await startTestService(t, { toml: `read = "token"\n${TOML}` });
  await pushAs(service.url);
  for (const path of [pushed.narInfoPath, pushed.narPath, `/${pushed.hash}.ls`, '/nix-cache-info']) {
    const { headers, status } = await get(service.url, path, { headers: { authorization } });
    assert.equal(status, 200);
    assert.match(headers['cache-control'] ?? '', /^private, max-age=/, path);
    assert.equal((await get(service.url, path)).headers['cache-control'], 'no-store');
  }
});

test('a listing that an upstream has carries its ETag too', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(`/${pulled.hash}.ls`, whole('{"version":1,"root":{"type":"regular","size":1}}'));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  // While it comes nobody knows its hash.
  const stored = async () => (await get(service.url, `/${pulled.hash}.ls`)).headers.etag !== undefined;
  await until(stored, 'the listing to be stored');
  const { headers } = await get(service.url, `/${pulled.hash}.ls`);
  assert.match(headers.etag ?? '', /^"[0-9a-f]{64}"$/);
  assert.ok(headers['last-modified'] !== undefined);
});

test('80: a body whose end nobody can tell is kept by no cache, and like any other once it is here', async (t) => {
  const upstream = await startUpstream(t);
  const one = makePackage('caching-unsized', { size: 10_000, compression: 'xz' });
  const narInfo = one.narInfo.replace(/^FileSize: .*\n/m, '');
  upstream.on(one.narInfoPath, whole(narInfo));
  upstream.on(one.narPath, (_request, response) => {
    response.write(one.file);
    response.end();
  });
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const nar = await addressOf(service.url, one.narInfoPath);
  const cold = await get(service.url, nar);
  assert.deepEqual(cold.body, one.file);
  assert.equal(cold.headers['content-length'], undefined);
  assert.equal(cold.headers['cache-control'], 'no-store');
  const sized = async () => (await get(service.url, nar)).headers['content-length'] !== undefined;
  await until(sized, 'the NAR to be stored');
  const { headers } = await get(service.url, nar);
  assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable');
});
