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
import {
  createWorld,
  requestsTo,
  SOON,
  startSilence,
  startSite,
  startTunnels,
} from '../fixtures/upstreams.ts';

/** So short that three silences do not take long, and long enough for an answer. */
const BRIEF = { ...SOON, firstByteMs: 300 };

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

test('one broken object, however often it is asked for, does not make the upstream dead for the others', async (t) => {
  const world = createWorld(t);
  const kinds = { broken, resets, page, cutOff };
  for (const [kind, listener] of Object.entries(kinds)) {
    const site = await startSite(t, (req, res) => (req.url === '/bad' ? listener : has)(req, res));
    const upstream = world.upstream(site.url);
    const upstreams = world.upstreams([upstream]);
    for (let i = 0; i < 10; i++) await assert.rejects(look(upstreams, undefined, 'bad'), kind);
    assert.equal(upstream.health.good, true, kind);
    assert.equal(await look(upstreams), site.url, kind);
  }
});

test('bodies that can not be decoded say nothing of the others, however many there are', async (t) => {
  const world = createWorld(t);
  const { url } = await startSite(t, (_, res) => {
    res.writeHead(200, { 'content-encoding': 'gzip', 'content-length': 5 }).end('plain');
  });
  const upstream = world.upstream(url);
  for (let i = 0; i < 5; i++) await assert.rejects(one(world, upstream), /decoded/);
  assert.equal(upstream.health.good, true);
});

test('a dead host that redirects lead to is known after three failures, and the upstream is not blamed for it', async (t) => {
  const world = createWorld(t);
  const port = await deadPort();
  const elsewhere = `http://127.0.0.1:${port}`;
  const site = await startSite(t, (req, res) => {
    res.writeHead(302, { location: elsewhere + req.url }).end();
  });
  const second = await startSite(t, has);
  const upstream = world.upstream(site.url);
  const upstreams = world.upstreams([upstream, world.upstream(second.url)]);
  for (let i = 0; i < 10; i++) assert.equal(await look(upstreams), second.url);
  assert.equal(upstream.health.good, true);
  assert.deepEqual(
    world.log
      .filter((line) => line.includes('believed dead and passed over'))
      .map((line) => line.split(': ')[0]),
    [`warn ${elsewhere}, where ${site.url} leads`],
  );

  const back = await startSite(t, has, port);
  assert.equal(await look(upstreams), second.url);
  assert.equal(back.paths.length, 0, 'not yet');
  world.pass(10_000);
  assert.equal(await look(upstreams), second.url, 'nobody waits for the look');
  await until(() => world.log.some((line) => line.includes('alive again')), 'the host to be known as alive');
  assert.equal(await look(upstreams), site.url);
});

test('a dead host that redirects lead to is asked all the same if nobody else is left', async (t) => {
  const world = createWorld(t);
  const port = await deadPort();
  const site = await startSite(t, (req, res) => {
    res.writeHead(302, { location: `http://127.0.0.1:${port}${req.url}` }).end();
  });
  const upstreams = world.upstreams([world.upstream(site.url)]);
  for (let i = 0; i < 5; i++) await assert.rejects(look(upstreams));
  await startSite(t, has, port);
  assert.equal(await look(upstreams), site.url);
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
  for (const path of ['/a', '/b', '/c']) assert.equal(await look(upstreams, path), second.url);
  const [first] = upstreams.all;
  await until(() => first?.health.good === false, 'the upstream to be believed dead');
  const { total } = dead.sockets;
  assert.ok(total <= 5, 'the lookups and one look after them, which asks two things');
  for (let i = 0; i < 20; i++) assert.equal(await look(upstreams), second.url);
  assert.equal(dead.sockets.total, total);
  assert.match(world.log.join('\n'), /^warn upstream .*: believed dead and passed over.*no answer within/m);
});

test('while it is found out whether a silent upstream is dead, lookups do not wait for it', async (t) => {
  const world = createWorld(t);
  const dead = await startSilence(t);
  const second = await startSite(t, has);
  const upstreams = world.upstreams([dead, second].map(({ url }) => world.upstream(url)));
  const hedging = world.upstreams(upstreams.all, { hedgeDelayMs: 0 });
  for (const path of ['/a', '/b', '/c']) assert.equal(await look(hedging, path), second.url);
  const [first] = upstreams.all;
  await until(() => first?.health.suspected === true, 'the upstream to be suspected');
  for (let i = 0; i < 20; i++) assert.equal(await look(upstreams), second.url);
  assert.equal(first?.health.good, true);
  assert.ok(dead.sockets.total <= 5);
});

test('an upstream that is slow but works is not believed dead, nor looked at for one slow name', async (t) => {
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
  const looks = () => slow.paths.filter((path) => path === '/nix-cache-info').length;
  for (let i = 0; i < 10; i++) assert.equal(await look(upstreams, '/one'), second.url);
  assert.equal(looks(), 0);
  for (let i = 0; i < 10; i++) {
    assert.equal(await look(upstreams, `/${i}`), second.url);
    await until(() => upstreams.all[0]?.health.suspected === false, 'the look to end');
  }
  assert.equal(looks(), 1, 'and it is not pestered');
  assert.equal(upstreams.all[0]?.health.whyNot(false), undefined);
});

test('only the file that a look asks for first is broken: the upstream is alive', async (t) => {
  const { closed } = { closed: await deadPort() };
  const kinds: Record<string, RequestListener> = {
    broken,
    page,
    resets,
    silent,
    'redirects to a dead host': (_, res) =>
      void res.writeHead(302, { location: `http://127.0.0.1:${closed}/` }).end(),
  };
  for (const [kind, listener] of Object.entries(kinds)) {
    const world = createWorld(t);
    let up = false;
    const site = await startSite(t, (req, res) => {
      if (!up) broken(req, res);
      else (req.url === '/nix-cache-info' ? listener : lacks)(req, res);
    });
    const upstream = await killed(world, site.url);
    up = true;
    world.pass(1000);
    await until(() => upstream.health.good, `${kind}: the upstream to be known as alive`);
  }
});

test('a login page on the way and a ban are no signs of life', async (t) => {
  const kinds: Record<string, RequestListener> = {
    page,
    'redirects to a login': (req, res) =>
      req.url === '/login' ? page(req, res) : void res.writeHead(302, { location: '/login' }).end(),
    bans: (_, res) => void res.writeHead(403, { 'content-type': 'text/html' }).end('<h1>banned</h1>'),
  };
  for (const [kind, listener] of Object.entries(kinds)) {
    const world = createWorld(t);
    const site = await startSite(t, listener);
    const upstream = await killed(world, site.url);
    const before = site.paths.length;
    world.pass(1000);
    await until(() => site.paths.length >= before + 2, `${kind}: a look`);
    await upstream.health.news(true);
    assert.equal(upstream.health.good, false, kind);
  }
});

test('a dead upstream is looked at by a timer, at growing distances of at most ten seconds, and no request waits', async (t) => {
  const world = createWorld(t);
  let first: RequestListener = broken;
  const [a, b] = [await startSite(t, (req, res) => first(req, res)), await startSite(t, has)];
  const upstreams = world.upstreams([world.upstream(a.url), world.upstream(b.url)]);
  for (let i = 0; i < 10; i++) assert.equal(await look(upstreams), b.url);
  assert.equal(a.paths.length, 3);
  const { health } = upstreams.all[0] as Upstream;
  const looks = () => a.paths.filter((path) => path === '/nix-cache-info').length;
  for (const [index, ms] of [1000, 2000, 4000, 8000, 10_000, 10_000].entries()) {
    world.pass(ms - 1);
    assert.equal(looks(), index, `not before ${ms} ms`);
    world.pass(1);
    await until(() => looks() === index + 1, 'a look');
    await health.news(true);
  }
  assert.equal(health.good, false);

  first = lacks; // A 404 is a sign of life as well.
  world.pass(10_000);
  await until(() => health.good, 'the upstream to be known as alive');
  first = has;
  assert.equal(await look(upstreams), a.url);
  assert.deepEqual(
    world.log.filter((line) => /believed|alive/.test(line)).map((line) => line.split(': ')[1]),
    ['believed dead and passed over, but looked at every few seconds', 'alive again after 45 s'],
  );
  world.pass(60_000);
  assert.equal(looks(), 7, 'and then no more');
});

test('nothing looks any more at an upstream that was closed', async (t) => {
  const world = createWorld(t);
  const site = await startSite(t, broken);
  const upstream = await killed(world, site.url);
  const asked = site.paths.length;
  upstream.close();
  world.pass(60_000);
  await upstream.health.news(true);
  assert.equal(site.paths.length, asked);
});

test('when everybody is believed dead, they are looked at, and asked at once: the first request after an outage is answered', async (t) => {
  const world = createWorld(t);
  let listener: RequestListener = silent;
  const site = await startSite(t, (req, res) => listener(req, res));
  const upstreams = world.upstreams([await killed(world, site.url, BRIEF)]);
  await assert.rejects(look(upstreams), /believed dead/);
  listener = has;
  world.pass(1000);
  assert.deepEqual(await Promise.all([look(upstreams), look(upstreams)]), [site.url, site.url]);

  listener = broken;
  for (let i = 0; i < 3; i++) await assert.rejects(look(upstreams));
  assert.equal(upstreams.all[0]?.health.good, false);
  listener = has;
  assert.equal(await look(upstreams), site.url, 'at once, as it answered');
});

test('the first lookup after an outage is no miss, however long that was, if another upstream says no', async (t) => {
  for (const [what, down] of Object.entries({ broken, silent })) {
    for (const ms of [1000, 10_000, 100_000_000]) {
      const world = createWorld(t);
      let listener: RequestListener = down;
      const site = await startSite(t, (req, res) => listener(req, res));
      const other = await startSite(t, lacks);
      const dead = await killed(world, site.url, BRIEF);
      const upstreams = world.upstreams([world.upstream(other.url), dead]);
      assert.equal(await look(upstreams), undefined, `${what}: while it is dead`);
      world.pass(ms);
      await dead.health.news(true);
      listener = has;
      world.pass(10_000);
      assert.equal(await look(upstreams), site.url, `${what} for ${ms} ms`);
    }
  }
});

test('a dead proxy is told apart from the upstreams behind it, which share what is known of it', async (t) => {
  const world = createWorld(t);
  const site = await startSite(t, has);
  const port = await deadPort();
  const proxy = `http://user:secret@127.0.0.1:${port}`;
  const a = world.upstream(`${site.url}/a`, { proxy });
  const b = world.upstream(`${site.url}/b`, { proxy });
  const direct = world.upstream(`${site.url}/direct`);
  const upstreams = world.upstreams([a, b, direct]);
  for (let i = 0; i < 5; i++) assert.equal(await look(upstreams), direct.url);
  assert.deepEqual([requestsTo(world, a), requestsTo(world, b)], [2, 1], 'three failures in all');
  const changes = world.log.filter((line) => line.includes('believed dead and passed over'));
  assert.equal(changes.length, 1);
  assert.match(changes[0] ?? '', new RegExp(`^warn proxy http://127.0.0.1:${port}: believed dead`));
  assert.equal(await codeOf(look(world.upstreams([a, b]))), 'upstream');

  await startTunnels(t, port);
  world.pass(1000);
  await until(() => a?.health.good === true, 'the proxy to be known as alive');
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
  assert.equal(requestsTo(world, dead), 3);
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

test('events tell what was asked of an upstream, and what came', async (t) => {
  const world = createWorld(t);
  const site = await startSite(t, (req, res) => (req.url === '/y' ? broken(req, res) : has(req, res)));
  const upstream = world.upstream(site.url);
  await look(world.upstreams([upstream]), undefined, 'x');
  const failed = upstream.get(upstream.resolve('y'), false, world.stopping.signal);
  await assert.rejects(failed, /answered 500/);
  const about = { upstream: site.url, error: undefined };
  assert.deepEqual(world.events, [
    { kind: 'upstream-request', ...about, status: 200, ms: 0 },
    { kind: 'upstream-body', ...about, bytes: 2, received: 2 },
    { kind: 'upstream-request', ...about, status: 500, ms: 0 },
  ]);
});
