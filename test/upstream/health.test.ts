import assert from 'node:assert/strict';
import type { RequestListener, ServerResponse } from 'node:http';
import { test } from 'node:test';
import type { Upstream } from '../../lib/upstream/upstream.ts';
import {
  broken,
  codeOf,
  cutOff,
  has,
  killed,
  lacks,
  look,
  one,
  page,
  resets,
  silent,
  stalls,
  unauthorised,
} from '../fixtures/lookups.ts';
import { deadPort } from '../fixtures/origin.ts';
import { until } from '../fixtures/patience.ts';
import { createWorld, SOON, startSilence, startSite, startTunnels } from '../fixtures/upstreams.ts';

test('what counts against an upstream: no connection, silence, reset, 5xx, a web page, a body that breaks off', async (t) => {
  const world = createWorld(t);
  for (const [name, listener] of Object.entries({ silent, resets, broken, page, cutOff, stalls })) {
    const deadlines = listener === silent || listener === stalls ? SOON : undefined;
    const { url } = await startSite(t, listener);
    await killed(world, url, deadlines).catch((error) => assert.fail(`${name}: ${error}`));
  }
  await killed(world, `http://127.0.0.1:${await deadPort()}`);
});

test('any real answer counts for it', async (t) => {
  const world = createWorld(t);
  let next: RequestListener = has;
  const site = await startSite(t, (req, res) => next(req, res));
  for (const listener of [has, lacks, unauthorised]) {
    const upstream = world.upstream(`${site.url}/${Math.random()}`);
    for (const turn of [broken, broken, listener, broken, broken]) {
      next = turn;
      await one(world, upstream).catch(() => {});
    }
    assert.equal(upstream.health.good, true);
    next = broken;
    await one(world, upstream).catch(() => {});
    assert.equal(upstream.health.good, false);
  }
});

test('another origin that a redirect leads to does not tell against the upstream', async (t) => {
  const world = createWorld(t);
  const elsewhere = `http://127.0.0.1:${await deadPort()}/`;
  const site = await startSite(t, (_, res) => void res.writeHead(302, { location: elsewhere }).end());
  const upstream = world.upstream(site.url);
  for (let i = 0; i < 5; i++) await assert.rejects(one(world, upstream));
  assert.equal(upstream.health.good, true);
});

test('a first upstream that never answers becomes known though another one always answers first', async (t) => {
  const world = createWorld(t);
  const dead = await startSilence(t);
  const second = await startSite(t, has);
  // The clock of the health stands still, so every silence is long enough for it.
  const upstreams = world.upstreams(
    [world.upstream(dead.url, { deadlines: SOON }), world.upstream(second.url)],
    { hedgeDelayMs: 0 },
  );
  assert.equal(await look(upstreams), second.url);
  const [first] = upstreams.all;
  await until(() => first?.health.good === false, 'the upstream to be believed dead');
  const { total } = dead.sockets;
  assert.ok(total <= 2, 'the lookup and one look after it');
  for (let i = 0; i < 20; i++) assert.equal(await look(upstreams), second.url);
  assert.equal(dead.sockets.total, total);
  assert.match(world.log.join('\n'), /^warn upstream .*: believed dead and not asked.*no answer within/m);
});

test('while it is found out whether a silent upstream is dead, lookups do not wait for it', async (t) => {
  const world = createWorld(t);
  const dead = await startSilence(t);
  const second = await startSite(t, has);
  const upstreams = world.upstreams([dead, second].map(({ url }) => world.upstream(url)));
  const hedging = world.upstreams(upstreams.all, { hedgeDelayMs: 0 });
  assert.equal(await look(hedging), second.url);
  const [first] = upstreams.all;
  await until(() => first?.health.suspected === true, 'the upstream to be suspected');
  for (let i = 0; i < 20; i++) assert.equal(await look(upstreams), second.url);
  assert.equal(first?.health.good, true);
  assert.ok(dead.sockets.total <= 2);
});

test('an upstream that is slow but works is not believed dead', async (t) => {
  const world = createWorld(t);
  const held: ServerResponse[] = [];
  const slow = await startSite(t, (req, res) => {
    if (req.url === '/nix-cache-info') res.end('StoreDir: /nix/store\n');
    else held.push(res);
  });
  const second = await startSite(t, has);
  const upstreams = world.upstreams(
    [slow, second].map(({ url }) => world.upstream(url)),
    { hedgeDelayMs: 0 },
  );
  for (let i = 0; i < 10; i++) {
    assert.equal(await look(upstreams), second.url);
    assert.equal(await upstreams.all[0]?.health.recovers(), true);
  }
  assert.equal(slow.paths.filter((path) => path === '/nix-cache-info').length, 1, 'and it is not pestered');
  assert.equal(upstreams.all[0]?.health.stats.failures, 0);
});

test('an upstream that returns is asked again, after a look that no request waits for', async (t) => {
  const world = createWorld(t);
  let first: RequestListener = broken;
  const [a, b] = [await startSite(t, (req, res) => first(req, res)), await startSite(t, has)];
  const upstreams = world.upstreams([world.upstream(a.url), world.upstream(b.url)]);
  for (let i = 0; i < 10; i++) assert.equal(await look(upstreams), b.url);
  assert.equal(a.paths.length, 3);
  const health = (upstreams.all[0] as Upstream).health;

  world.pass(1000);
  assert.equal(await look(upstreams), b.url);
  assert.equal(await health.recovers(), false);
  assert.deepEqual(a.paths.slice(3), ['/nix-cache-info']);

  first = lacks; // A 404 to nix-cache-info is a sign of life as well.
  world.pass(1999);
  assert.equal(await look(upstreams), b.url);
  assert.equal(await health.recovers(), false, 'the second wait is longer');
  world.pass(1);
  let answerProbe = () => {};
  first = (_, res) => {
    answerProbe = () => lacks(_, res);
  };
  assert.equal(await look(upstreams), b.url, 'while the look goes on');
  await until(() => a.paths.length >= 5, 'five requests');
  answerProbe();
  assert.equal(await health.recovers(), true);
  first = has;
  assert.equal(await look(upstreams), a.url);
  assert.deepEqual(
    world.log.filter((line) => /believed|alive/.test(line)).map((line) => line.split(': ')[1]),
    ['believed dead and not asked for 1000 ms', 'alive again'],
  );
});

test('when everybody is believed dead, the look is waited for: the first request after an outage is answered', async (t) => {
  const world = createWorld(t);
  let listener: RequestListener = broken;
  const site = await startSite(t, (req, res) => listener(req, res));
  const upstreams = world.upstreams([await killed(world, site.url)]);
  const asked = site.paths.length;
  await assert.rejects(look(upstreams), /believed dead/);
  assert.equal(site.paths.length, asked, 'not before it is time');
  listener = has;
  world.pass(1000);
  assert.deepEqual(await Promise.all([look(upstreams), look(upstreams)]), [site.url, site.url]);
  assert.equal(site.paths.filter((path) => path === '/nix-cache-info').length, 1);
});

test('a dead proxy is told apart from the upstreams behind it, which share what is known of it', async (t) => {
  const world = createWorld(t);
  const site = await startSite(t, has);
  const port = await deadPort();
  const proxy = `http://user:secret@127.0.0.1:${port}`;
  const [a, b] = ['a', 'b'].map((path) => world.upstream(`${site.url}/${path}`, { proxy }));
  const direct = world.upstream(`${site.url}/direct`);
  const upstreams = world.upstreams([a as Upstream, b as Upstream, direct]);
  for (let i = 0; i < 5; i++) assert.equal(await look(upstreams), direct.url);
  assert.deepEqual([a?.health.stats.requests, b?.health.stats.requests], [2, 1], 'three failures in all');
  assert.deepEqual([a?.health.stats.opened, b?.health.stats.opened], [0, 0]);
  const changes = world.log.filter((line) => line.includes('believed dead and not asked'));
  assert.equal(changes.length, 1);
  assert.match(changes[0] ?? '', new RegExp(`^warn proxy http://127.0.0.1:${port}: believed dead`));
  assert.equal(await codeOf(look(world.upstreams([a as Upstream, b as Upstream]))), 'upstream');

  await startTunnels(t, port);
  world.pass(1000);
  assert.equal(await look(upstreams), direct.url);
  assert.equal(await a?.health.recovers(), true);
  assert.equal(await look(upstreams), a?.url);
});

test('a dead upstream behind a proxy leaves the proxy and the others behind it alone', async (t) => {
  const world = createWorld(t);
  const site = await startSite(t, has);
  const proxy = await startTunnels(t);
  const dead = world.upstream(`http://127.0.0.1:${await deadPort()}`, { proxy: proxy.url });
  const alive = world.upstream(site.url, { proxy: proxy.url });
  const upstreams = world.upstreams([dead, alive]);
  for (let i = 0; i < 5; i++) assert.equal(await look(upstreams), alive.url);
  assert.equal(dead.health.stats.requests, 3);
  assert.equal(dead.health.good, false);
  assert.equal(alive.health.good, true);
});

test('a dead upstream whose look comes first does not keep its proxy from being known to work again', async (t) => {
  const world = createWorld(t);
  const site = await startSite(t, has);
  const port = await deadPort();
  const proxy = `http://127.0.0.1:${port}`;
  const dead = world.upstream(`http://127.0.0.1:${await deadPort()}`, { proxy });
  const alive = world.upstream(site.url, { proxy });
  const upstreams = world.upstreams([dead, alive]);
  for (let i = 0; i < 3; i++) await look(upstreams).catch(() => {});
  assert.equal(alive.health.good, false);
  await startTunnels(t, port);
  world.pass(1000);
  assert.equal(await look(upstreams), alive.url);
});

test('the numbers of an upstream tell what was asked of it', async (t) => {
  const world = createWorld(t);
  const site = await startSite(t, (req, res) => (req.url === '/x' ? has(req, res) : broken(req, res)));
  const upstream = world.upstream(site.url);
  await one(world, upstream);
  await assert.rejects(upstream.get(upstream.resolve('y'), false, world.stopping.signal));
  assert.deepEqual(upstream.health.stats, {
    ...{ requests: 2, bytes: 2, failures: 1, unsigned: 0, opened: 0 },
    latencyMs: { last: 0, average: 0 },
  });
});
