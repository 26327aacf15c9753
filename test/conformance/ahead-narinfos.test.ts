// Promise 10: narinfos are there before the client asks for them, and whoever waits goes before what nobody waits for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { get, push } from '../fixtures/client.ts';
import { chain, has, makeClosure } from '../fixtures/closure.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { type Key, makePackage, type Package, publicKey } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { gated, startUpstream, status, type TestUpstream, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const config = { negativeTtlMs: 60_000 };
const last = (all: readonly Package[]): Package => all.at(-1) as Package;

/** When nothing more is asked of the upstream, and nothing is on its way. */
async function quiet(upstream: TestUpstream, ms = 100): Promise<void> {
  for (let before = -1; before !== upstream.count(); await delay(ms)) before = upstream.count();
}

async function allAsked(upstream: TestUpstream, all: readonly Package[]): Promise<void> {
  await Promise.all(all.map(({ narInfoPath }) => upstream.asked(narInfoPath)));
  await quiet(upstream);
}

test('what a narinfo names, and what that names, is looked up once each and is there when it is asked for', async (t) => {
  const upstream = await startUpstream(t);
  const all = makeClosure('deep', 12, chain);
  has(upstream, ...all);
  const service = await startTestService(t, { upstreams: [upstream.url], config });
  await get(service.url, last(all).narInfoPath);
  await allAsked(upstream, all);
  for (const one of all.toReversed()) {
    const reply = await get(service.url, one.narInfoPath);
    assert.equal(reply.status, 200);
    assert.equal(upstream.count(one.narInfoPath), 1);
  }
  assert.equal(upstream.count(), all.length, 'and nothing else, no NAR');
  // On the disk too.
  await upstream.down();
  await service.restart();
  for (const one of all) assert.equal((await get(service.url, one.narInfoPath)).status, 200);
});

test('paths that name each other, or one by several ways, are looked up once', async (t) => {
  const upstream = await startUpstream(t);
  const [a, b] = [makePackage('round-a').base, makePackage('round-b').base];
  const round = [
    makePackage('round-a', { references: [a, b] }),
    makePackage('round-b', { references: [a, b] }),
  ];
  const wide = makeClosure('wide', 8, (n) => Array.from({ length: n }, (_, m) => m));
  has(upstream, ...round, ...wide);
  const service = await startTestService(t, { upstreams: [upstream.url], config });
  await get(service.url, round[0]?.narInfoPath ?? '');
  await get(service.url, last(wide).narInfoPath);
  await allAsked(upstream, [...round, ...wide]);
  assert.equal(upstream.count(), round.length + wide.length);
});

test('a lookup ahead is joined, and is patient with nobody from then on', async (t) => {
  const [slow, quick] = [await startUpstream(t), await startUpstream(t)];
  const [leaf, top] = makeClosure('joined', 2, chain) as [Package, Package];
  const gate = gated(Buffer.from(leaf.narInfo));
  slow.on(top.narInfoPath, whole(top.narInfo));
  slow.on(leaf.narInfoPath, gate.handler);
  has(quick, leaf);
  const service = await startTestService(t, {
    upstreams: [slow.url, quick.url],
    config: { ...config, hedgeDelayMs: 50 },
  });
  await get(service.url, top.narInfoPath);
  await slow.asked(leaf.narInfoPath);
  await delay(200);
  assert.equal(quick.count(leaf.narInfoPath), 0, 'nobody waits for it');
  assert.equal((await get(service.url, leaf.narInfoPath)).status, 200);
  assert.equal(slow.count(leaf.narInfoPath), 1);
  assert.equal(quick.count(leaf.narInfoPath), 1);
});

test('whoever joins what is given up ahead asks anew', async (t) => {
  const upstream = await startUpstream(t);
  const [leaf, top] = makeClosure('given-up', 2, chain) as [Package, Package];
  upstream.on(top.narInfoPath, whole(top.narInfo));
  let release = () => {};
  const seen = new Promise<void>((resolve) => {
    release = resolve;
  });
  let asked = 0;
  upstream.on(leaf.narInfoPath, async (request, response) => {
    asked++;
    if (asked > 1) return whole(leaf.narInfo)(request, response);
    await seen;
    status(429, '', { 'retry-after': '0' })(request, response);
  });
  const service = await startTestService(t, { upstreams: [upstream.url], config });
  await get(service.url, top.narInfoPath);
  await upstream.asked(leaf.narInfoPath);
  const reply = get(service.url, leaf.narInfoPath);
  await delay(50);
  release();
  assert.equal((await reply).status, 200);
});

test('a path that nobody has is remembered as missing, until it is pushed', async (t) => {
  const upstream = await startUpstream(t);
  const [leaf, top] = makeClosure('missing', 2, chain) as [Package, Package];
  upstream.on(top.narInfoPath, whole(top.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url], config });
  await get(service.url, top.narInfoPath);
  await upstream.asked(leaf.narInfoPath);
  await quiet(upstream);
  assert.equal((await get(service.url, leaf.narInfoPath)).status, 404);
  assert.equal(upstream.count(leaf.narInfoPath), 1);
  await push(service.url, leaf);
  assert.equal((await get(service.url, leaf.narInfoPath)).status, 200);
});

const KEY: Key = { name: 'own-1', seed: Buffer.alloc(32, 1) };

test('only what is believed is followed', async (t) => {
  const upstream = await startUpstream(t);
  const signed = makeClosure('signed', 1, chain, { keys: [KEY] });
  const [hidden, unsigned] = makeClosure('unsigned', 2, chain) as [Package, Package];
  const garbage = makePackage('garbage', { keys: [KEY] });
  const top = makePackage('believed', {
    keys: [KEY],
    references: [garbage.base, last(signed).base, unsigned.base],
  });
  has(upstream, ...signed, hidden, unsigned, top);
  upstream.on(
    garbage.narInfoPath,
    whole(`${garbage.narInfo.replace(/^StorePath: .*\n/m, '')}References: ${hidden.base}\n`),
  );
  const upstreams = [upstreamConfig(upstream.url, { publicKeys: [publicKey(KEY)] })];
  const service = await startTestService(t, { upstreams, config });
  await get(service.url, top.narInfoPath);
  await allAsked(upstream, [garbage, unsigned, ...signed]);
  assert.equal(upstream.count(hidden.narInfoPath), 0);
  assert.equal((await get(service.url, unsigned.narInfoPath)).status, 502, 'judged as always');
});

test('whoever waits finds a connection, however many narinfos are fetched ahead', async (t) => {
  const upstream = await startUpstream(t);
  const leaves = makeClosure('leaf', 40, () => []);
  const top = makePackage('crowd', { references: leaves.map(({ base }) => base) });
  const other = makePackage('other');
  has(upstream, top, other);
  const gate = gated(Buffer.from('never'));
  for (const { narInfoPath } of leaves) upstream.on(narInfoPath, gate.handler);
  const upstreams = [upstreamConfig(upstream.url, { maxConnections: 16 })];
  const service = await startTestService(t, { upstreams, config });
  await get(service.url, top.narInfoPath);
  await until(() => upstream.count() >= 7, 'those ahead');
  await quiet(upstream);
  assert.equal(upstream.count(), 7, 'six of eight, and the top');
  assert.equal((await get(service.url, other.narInfoPath)).status, 200);
  await service.stop();
});

test('an upstream that wants to be left alone is not read ahead from', async (t) => {
  const upstream = await startUpstream(t);
  const all = makeClosure('throttled', 30, () => []);
  const deep = makeClosure('throttled-deep', 5, chain);
  const top = makePackage('throttled-top', { references: [...all, last(deep)].map(({ base }) => base) });
  has(upstream, top, ...deep);
  for (const { narInfoPath } of all) upstream.on(narInfoPath, status(429, '', { 'retry-after': '1' }));
  const upstreams = [upstreamConfig(upstream.url, { maxConnections: 8 })];
  const service = await startTestService(t, { upstreams, config });
  await get(service.url, top.narInfoPath);
  await until(() => upstream.count() > 1, 'a first lookup ahead');
  await quiet(upstream);
  assert.ok(upstream.count() <= 4, `${upstream.count()} requests, of which three went out at once`);
});

test('nothing is read ahead for another cache of our kind, nor where the configuration says so', async (t) => {
  const upstream = await startUpstream(t);
  const all = makeClosure('off', 4, chain);
  has(upstream, ...all);
  const top = last(all).narInfoPath;
  const [far, off] = [
    await startTestService(t, { upstreams: [upstream.url], config }),
    await startTestService(t, { upstreams: [upstream.url], config, toml: 'read_ahead = "off"' }),
  ];
  await get(off.url, top);
  await get(far.url, top, { headers: { via: '1.1 nix-binary-cache-0123456789abcdef' } });
  await quiet(upstream);
  assert.equal(upstream.count(), 2);
  // Of two in a row the near one reads ahead, through the far one.
  const near = await startTestService(t, { upstreams: [far.url], config });
  await get(near.url, top);
  await Promise.all(all.slice(0, -1).map(({ narInfoPath }) => upstream.asked(narInfoPath)));
  await quiet(upstream);
  assert.equal(upstream.count(), 5, 'each once, but what was asked before');
});

test('a stop does not wait for what is fetched ahead', async (t) => {
  const upstream = await startUpstream(t);
  const all = makeClosure('stopped', 2, chain);
  has(upstream, last(all));
  upstream.on(all[0]?.narInfoPath ?? '', () => {});
  const service = await startTestService(t, { upstreams: [upstream.url], config });
  await get(service.url, last(all).narInfoPath);
  await upstream.asked(all[0]?.narInfoPath ?? '');
  const begun = performance.now();
  await service.stop();
  assert.ok(performance.now() - begun < 5000);
});
