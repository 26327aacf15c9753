// Promise 10: NARs are there before the client asks for them, once it has asked for the first; and whoever waits goes before what
// nobody waits for.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { get, open, put } from '../fixtures/client.ts';
import { chain, has, makeClosure, wide } from '../fixtures/closure.ts';
import { startTestService, type TestService, type TestServiceOptions } from '../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../fixtures/nar.ts';
import { patiently, until } from '../fixtures/patience.ts';
import { putBeside } from '../fixtures/put-beside.ts';
import { gated, silent, startUpstream, status, type TestUpstream } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const config = { negativeTtlMs: 60_000 };
/** Each has its own: for their narinfos, and for their NARs. */
const ROOMY = { ...config, connections: 1 };

async function start(t: TestContext, options: TestServiceOptions = {}) {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url], config: ROOMY, ...options });
  return { upstream, service };
}

/** Asks for the narinfos of all, from the top, and tells the addresses of their NARs. */
async function askAll(
  service: TestService,
  all: readonly Package[],
  headers: Record<string, string> = {},
): Promise<string[]> {
  const paths: string[] = [];
  for (const one of all.toReversed()) {
    const { status, text } = await get(service.url, one.narInfoPath, { headers });
    assert.equal(status, 200);
    paths.unshift(`/${field(text, 'URL')}`);
  }
  return paths;
}

/** When nothing more is asked of the upstream. */
async function quiet(upstream: TestUpstream, ms = 150): Promise<void> {
  for (let before = -1; before !== upstream.count(); await delay(ms)) before = upstream.count();
}

const narsOf = ({ requests }: TestUpstream) =>
  requests.map(({ url }) => url).filter((url) => url.startsWith('/nar/'));

test('with the first NAR those come that the client asked the narinfos of, what is needed first, and once each', async (t) => {
  const { service, upstream } = await start(t);
  const all = makeClosure('deep', 8, chain);
  has(upstream, ...all);
  const paths = await askAll(service, all);
  await quiet(upstream);
  assert.deepEqual(narsOf(upstream), [], 'none for narinfos alone');
  const first = await get(service.url, paths[0] ?? '');
  assert.ok(first.body.equals(all[0]?.file ?? Buffer.of()));
  await Promise.all(all.map(({ narPath }) => upstream.asked(narPath)));
  for (const [n, path] of paths.entries())
    assert.ok((await get(service.url, path)).body.equals(all[n]?.file ?? Buffer.of()));
  assert.deepEqual(narsOf(upstream).sort(), all.map(({ narPath }) => narPath).sort());
});

test('what the client did not ask the narinfo of is not loaded, though it was looked up', async (t) => {
  const { service, upstream } = await start(t);
  const all = makeClosure('half', 8, chain);
  has(upstream, ...all);
  // It has the lower half, and asks for none of that.
  const paths = await askAll(service, all.slice(4));
  await Promise.all(all.map(({ narInfoPath }) => upstream.asked(narInfoPath)));
  await get(service.url, paths[0] ?? '');
  await Promise.all(all.slice(4).map(({ narPath }) => upstream.asked(narPath)));
  await quiet(upstream);
  assert.equal(narsOf(upstream).length, 4);
});

test('neither a HEAD, nor a push, nor what another client does, nor another time, has NARs loaded', async (t) => {
  const { service, upstream } = await start(t, {
    toml: 'trusted_proxies = ["127.0.0.1"]\n[push]\nfrom = ["127.0.0.0/8", "10.0.0.0/8"]',
  });
  const all = makeClosure('idle', 6, chain);
  const other = makePackage('other');
  has(upstream, ...all, other);
  const of = (address: string) => ({ 'x-forwarded-for': address });
  const paths = await askAll(service, all, of('10.0.0.1'));
  await get(service.url, paths[0] ?? '', { method: 'HEAD', headers: of('10.0.0.1') });
  const pushed = makePackage('pushed');
  await put(service.url, pushed.narPath, pushed.file, of('10.0.0.1'));
  await put(service.url, pushed.narInfoPath, pushed.narInfo, of('10.0.0.1'));
  await get(service.url, pushed.narPath, { headers: of('10.0.0.1') });
  // Another client, who asked for one of them.
  const [alone] = await askAll(service, [other], of('10.0.0.2'));
  await get(service.url, alone ?? '', { headers: of('10.0.0.2') });
  await get(service.url, paths[1] ?? '', { headers: of('10.0.0.2') });
  // Nobody knows who this is.
  await get(service.url, paths[2] ?? '');
  await quiet(upstream);
  assert.deepEqual(
    narsOf(upstream).sort(),
    [other.narPath, ...all.slice(1, 3).map(({ narPath }) => narPath)].sort(),
  );
});

test('where clients can not be told apart no NARs are loaded ahead', async (t) => {
  for (const [toml, headers] of [
    ['trusted_proxies = ["127.0.0.1"]', {}],
    ['', { 'x-forwarded-for': '10.0.0.1' }],
    ['', { via: '1.1 nix-binary-cache-0123456789abcdef' }],
    ['read_ahead = "narinfos"', {}],
  ] as const) {
    const { service, upstream } = await start(t, { toml });
    const all = makeClosure('who', 4, chain);
    has(upstream, ...all);
    const paths: string[] = [];
    for (const one of all)
      paths.push(`/${field((await get(service.url, one.narInfoPath, { headers })).text, 'URL')}`);
    await get(service.url, paths[0] ?? '', { headers });
    await quiet(upstream);
    assert.deepEqual(narsOf(upstream), [all[0]?.narPath], toml);
  }
});

test('after a minute it is another occasion', async (t) => {
  let now = 0;
  const { service, upstream } = await start(t, { now: () => now });
  const all = makeClosure('late', 4, chain);
  has(upstream, ...all);
  const paths = await askAll(service, all);
  now += 61_000;
  await get(service.url, paths[0] ?? '');
  await quiet(upstream);
  assert.equal(narsOf(upstream).length, 1);
});

test('a push after a build has none of what it asks for loaded', async (t) => {
  const { service, upstream } = await start(t);
  const [built, pushed] = [makeClosure('built', 3, chain), makeClosure('elsewhere', 6, chain)];
  has(upstream, ...built, ...pushed);
  const paths = await askAll(service, built);
  await get(service.url, paths[0] ?? '');
  await askAll(service, pushed);
  for (const path of paths) await get(service.url, path);
  await quiet(upstream);
  assert.equal(narsOf(upstream).length, built.length);
});

test('a client joins what is loaded ahead, and leaves it running', async (t) => {
  const { service, upstream } = await start(t);
  const [leaf, top] = makeClosure('joined', 2, chain, { size: 300_000 }) as [Package, Package];
  has(upstream, leaf, top);
  const gate = gated(top.file);
  upstream.on(top.narPath, gate.handler);
  const paths = await askAll(service, [leaf, top]);
  await get(service.url, paths[0] ?? '');
  await upstream.asked(top.narPath);
  gate.release(100_000);
  const reader = await open(service.url, paths[1] ?? '');
  await reader.atLeast(1000);
  gate.release();
  assert.ok((await reader.finish()).body.equals(top.file));
  assert.equal(upstream.count(top.narPath), 1);
});

test('what is loaded ahead leaves a connection to whoever comes, and gives way when more come', async (t) => {
  const upstream = await startUpstream(t);
  const upstreams = [upstreamConfig(upstream.url, { maxConnections: 8 })];
  const service = await startTestService(t, { upstreams, config: ROOMY });
  const leaves = makeClosure('slow', 12, wide(12), { size: 400_000 });
  const others = makeClosure('wanted', 4, () => []);
  has(upstream, ...leaves, ...others);
  for (const { file, narPath } of leaves.slice(1)) upstream.on(narPath, gated(file).handler);
  const slow = await askAll(service, leaves);
  await get(service.url, slow[0] ?? '');
  await until(() => narsOf(upstream).length >= 4, 'those ahead');
  await quiet(upstream);
  assert.equal(narsOf(upstream).length, 4, 'the first, and three of four at once');
  // These come from elsewhere, so that they are asked for by their names alone.
  const replies = await Promise.all(others.map(({ narPath }) => get(service.url, narPath)));
  for (const [n, { body }] of replies.entries()) assert.ok(body.equals(others[n]?.file ?? Buffer.of()));
  await service.stop();
});

test('what the upstream does not have, or gives wrong, costs the client nothing that it would not cost alone', async (t) => {
  const { service, upstream } = await start(t);
  const all = makeClosure('bad', 5, wide(5));
  has(upstream, ...all);
  const [first, lost, wrong, good] = all as [Package, Package, Package, Package, Package];
  upstream.on(lost.narPath, status(404));
  upstream.on(wrong.narPath, status(500));
  const paths = await askAll(service, all);
  await get(service.url, paths[0] ?? '');
  await Promise.all([lost, wrong, good].map(({ narPath }) => upstream.asked(narPath)));
  await quiet(upstream);
  assert.ok((await get(service.url, paths[3] ?? '')).body.equals(good.file));
  assert.equal((await get(service.url, first.narInfoPath)).status, 200);
  assert.equal((await get(service.url, lost.narInfoPath)).status, 200, 'nobody has asked for its NAR');
  has(upstream, lost, wrong);
  assert.ok((await get(service.url, paths[1] ?? '')).body.equals(lost.file));
  assert.ok((await get(service.url, paths[2] ?? '')).body.equals(wrong.file));
});

test('a disk that is nearly as full as it may be gets nothing that nobody asked for', async (t) => {
  for (const toml of ['[gc]\nmin_free = "1000 TiB"', '[gc]\nmax_size = "1 KiB"']) {
    const { service, upstream } = await start(t, { toml });
    const all = makeClosure('full', 3, chain);
    has(upstream, ...all);
    const paths = await askAll(service, all);
    await get(service.url, paths[0] ?? '');
    await quiet(upstream);
    assert.deepEqual(narsOf(upstream), [all[0]?.narPath]);
  }
});

test('a stop does not wait for NARs that nobody asked for', async (t) => {
  const { service, upstream } = await start(t);
  const all = makeClosure('stopped', 3, wide(3), { size: 400_000 });
  has(upstream, ...all);
  for (const { narPath } of all.slice(1)) upstream.on(narPath, () => {});
  const paths = await askAll(service, all);
  await get(service.url, paths[0] ?? '');
  await until(() => narsOf(upstream).length === 3, 'those ahead');
  const begun = performance.now();
  await service.stop();
  assert.ok(performance.now() - begun < 5000);
});

test('what is here is not loaded ahead, though its narinfo has just come', async (t) => {
  const { service, upstream } = await start(t);
  const [leaf, top] = makeClosure('here', 2, chain) as [Package, Package];
  has(upstream, leaf, top);
  upstream.on(top.narPath, silent());
  await putBeside(service.dir, top.narPath, top.file, upstream.url);
  const paths = await askAll(service, [leaf, top]);
  await get(service.url, paths[0] ?? '');
  await quiet(upstream);
  const reply = await patiently(get(service.url, paths[1] ?? ''), 'an answer');
  assert.ok(reply.body.equals(top.file));
  assert.deepEqual(narsOf(upstream), [leaf.narPath]);
});
