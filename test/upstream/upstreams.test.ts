import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import { CacheError } from '../../lib/errors.ts';
import type { Owner } from '../fixtures/defer.ts';
import {
  ask,
  broken,
  codeOf,
  has,
  killed,
  lacks,
  look,
  resets,
  silent,
  unauthorised,
} from '../fixtures/lookups.ts';
import { until } from '../fixtures/patience.ts';
import { createWorld, SOON, startSilence, startSite } from '../fixtures/upstreams.ts';

test('404 or an error: what each state of three upstreams comes to', async (t) => {
  const urls = {
    has: (await startSite(t, has)).url,
    lacks: (await startSite(t, lacks)).url,
    broken: (await startSite(t, broken)).url,
    silent: (await startSite(t, silent)).url,
    unauthorised: (await startSite(t, unauthorised)).url,
  };
  type Kind = keyof typeof urls | 'dead' | 'deadSilent';
  const cases: [Kind[], string][] = [
    [[], 'missing'],
    [['lacks', 'lacks'], 'missing'],
    [['lacks', 'has'], 'found'],
    [['broken', 'silent', 'has'], 'found'],
    [['broken', 'lacks'], 'upstream'],
    [['lacks', 'broken'], 'upstream'],
    [['lacks', 'unauthorised'], 'refused'],
    [['unauthorised', 'broken'], 'upstream'],
    [['silent', 'lacks'], 'timeout'],
    [['silent', 'broken'], 'upstream'],
    [['dead', 'lacks'], 'missing'],
    [['dead', 'has'], 'found'],
    [['dead', 'silent', 'lacks'], 'timeout'],
    [['dead', 'deadSilent'], 'upstream'],
    [['deadSilent'], 'timeout'],
    [['dead'], 'upstream'],
  ];
  for (const [kinds, expected] of cases) {
    const world = createWorld(t);
    const all = await Promise.all(
      kinds.map((kind, i) => {
        if (kind === 'dead') return killed(world, `${urls.broken}/${i}`);
        if (kind === 'deadSilent') return killed(world, `${urls.silent}/${i}`, SOON);
        return world.upstream(`${urls[kind]}/${i}`, kind === 'silent' ? { deadlines: SOON } : {});
      }),
    );
    assert.equal(await codeOf(look(world.upstreams(all))), expected, kinds.join(', '));
    const lenient = world.upstreams(all, { onUpstreamError: 'miss' });
    assert.equal(await codeOf(look(lenient)), expected === 'found' ? 'found' : 'missing', kinds.join(', '));
  }
});

test('what a dead upstream is known to have had is not missing because the others lack it', async (t) => {
  const world = createWorld(t);
  const dead = await killed(world, (await startSite(t, broken)).url);
  const other = world.upstream((await startSite(t, lacks)).url);
  const candidates = (certain: boolean) => [
    { upstream: dead, certain, ask: () => assert.fail('asked') },
    { upstream: other, ask: (signal: AbortSignal) => other.get(other.resolve('x'), false, signal) },
  ];
  const first = (certain: boolean) =>
    world.upstreams([dead, other]).first(candidates(certain), { kind: 'other', path: undefined });
  assert.deepEqual(await first(false), { kind: 'unsure' });
  assert.equal(await codeOf(first(true)), 'upstream');
});

test('a miss is sure only where everybody was asked and said no, also when it is remembered', async (t) => {
  const world = createWorld(t);
  const dead = await killed(world, (await startSite(t, broken)).url);
  const [broke, empty, full] = await Promise.all(
    [broken, lacks, has].map(async (listener) => world.upstream((await startSite(t, listener)).url)),
  );
  assert.ok(broke !== undefined && empty !== undefined && full !== undefined);
  const found = await ask(world.upstreams([empty, full]));
  assert.deepEqual(found, { kind: 'found', value: full.url });
  const onUpstreamError = 'miss';
  for (const [upstreams, kind] of [
    [world.upstreams([]), 'missing'],
    [world.upstreams([empty]), 'missing'],
    [world.upstreams([empty, dead]), 'unsure'],
    [world.upstreams([empty, broke], { onUpstreamError }), 'unsure'],
  ] as const) {
    for (let i = 0; i < 2; i++) assert.deepEqual(await ask(upstreams, '/x'), { kind });
  }
});

test('while a required upstream is dead nothing is missing, whatever failures are taken for', async (t) => {
  for (const onUpstreamError of ['error', 'miss'] as const) {
    for (const required of [true, false]) {
      const world = createWorld(t);
      const site = await startSite(t, broken);
      const dead = world.upstream(site.url, { required });
      const other = world.upstream((await startSite(t, lacks)).url);
      const upstreams = world.upstreams([other, dead], { onUpstreamError });
      const codes: string[] = [];
      for (let i = 0; i < 5; i++) codes.push(await codeOf(look(upstreams)));
      assert.equal(dead.health.good, false);
      world.pass(100_000_000);
      codes.push(await codeOf(look(upstreams)));
      const failing = onUpstreamError === 'error' ? 'upstream' : 'missing';
      const [during, after] = required ? ['upstream', 'upstream'] : [failing, 'missing'];
      assert.deepEqual(codes.slice(0, 3), [during, during, during]);
      assert.deepEqual(codes.slice(3), [after, after, after]);
    }
  }
});

test('a dead first upstream of three costs nothing once it is known: no connection is made to it', async (t) => {
  const world = createWorld(t);
  const dead = await startSilence(t, (socket) => socket.destroy());
  const [second, third] = [await startSite(t, has), await startSite(t, has)];
  const upstreams = world.upstreams([dead, second, third].map(({ url }) => world.upstream(url)));
  for (let i = 0; i < 100; i++) assert.equal(await look(upstreams), second.url);
  assert.equal(dead.sockets.total, 3);
  assert.equal(third.sockets.total, 0);
  assert.deepEqual(world.events.filter(({ kind }) => kind === 'breaker-opened').length, 1);
});

test('losers are cancelled: their connections end, and that is no failure', async (t) => {
  const world = createWorld(t);
  const closed: Promise<unknown>[] = [];
  let asked = () => {};
  const bothAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const head = await startSite(t, (req) => {
    closed.push(once(req.socket, 'close'));
  });
  const body = await startSite(t, (req, res) => {
    closed.push(once(req.socket, 'close'));
    res.writeHead(200, { 'content-length': 9 }).write('x', () => asked());
  });
  const winner = await startSite(t, (req, res) => void bothAsked.then(() => has(req, res)));
  const upstreams = world.upstreams(
    [head, body, winner].map(({ url }) => world.upstream(url)),
    { hedgeDelayMs: 5 },
  );
  assert.equal(await look(upstreams), winner.url);
  assert.equal(closed.length, 2);
  await Promise.all(closed);
  for (const { health } of upstreams.all) assert.equal(health.whyNot(false), undefined);
  assert.deepEqual(world.log, []);
});

test('the next upstream is asked only when the first has failed, said no, or let the hedge delay pass', async (t) => {
  const world = createWorld(t);
  let first: RequestListener = has;
  const [a, b] = [await startSite(t, (req, res) => first(req, res)), await startSite(t, has)];
  const upstreams = world.upstreams([world.upstream(a.url), world.upstream(b.url)]);
  assert.equal(await look(upstreams), a.url);
  assert.equal(b.paths.length, 0);
  for (const listener of [lacks, broken, resets]) {
    first = listener;
    const before: number = b.paths.length;
    assert.equal(await look(upstreams), b.url);
    assert.equal(b.paths.length, before + 1);
    first = has;
    await look(upstreams);
  }
  first = silent;
  const hedging = world.upstreams([world.upstream(a.url), world.upstream(b.url)], { hedgeDelayMs: 5 });
  assert.equal(await look(hedging), b.url);
});

test('requests that wait for a connection do not try what the ones before them have tried in vain', async (t) => {
  const world = createWorld(t);
  const dead = await startSilence(t);
  const upstreams = world.upstreams([world.upstream(dead.url, { deadlines: SOON })]);
  const codes = await Promise.all(Array.from({ length: 200 }, () => codeOf(look(upstreams))));
  assert.deepEqual([...new Set(codes)], ['timeout']);
  assert.ok(dead.sockets.total < 25, `${dead.sockets.total} connections`);
});

test('a miss is remembered while everybody who may have it has said so, shortly if not, never from a failure', async (t) => {
  const world = createWorld(t);
  let second: RequestListener = lacks;
  const [a, b] = [await startSite(t, lacks), await startSite(t, (req, res) => second(req, res))];
  const upstreams = world.upstreams([world.upstream(a.url), world.upstream(b.url)]);
  const asked = () => a.paths.length;

  for (let i = 0; i < 3; i++) assert.equal(await look(upstreams, '/x'), undefined);
  assert.equal(asked(), 1);
  await look(upstreams, '/other');
  await look(upstreams);
  await look(upstreams);
  assert.equal(asked(), 4, 'another path, and twice one that is not to be remembered');
  world.pass(60_000);
  await look(upstreams, '/x');
  assert.equal(asked(), 5, 'after its time');
  upstreams.misses.forget('/x');
  await look(upstreams, '/x');
  assert.equal(asked(), 6, 'after an upload');

  second = broken;
  for (let i = 0; i < 3; i++) await assert.rejects(look(upstreams, '/y'));
  assert.equal(asked(), 9, 'a failure is asked again');
  assert.equal(await look(upstreams, '/y'), undefined);
  assert.equal(await look(upstreams, '/y'), undefined);
  assert.equal(asked(), 10, 'one is believed dead: remembered,');
  world.pass(5000);
  await look(upstreams, '/y');
  assert.equal(asked(), 11, 'but not for long');
});

test('nothing is asked any more when the service stops', async (t: Owner) => {
  const world = createWorld(t);
  const site = await startSite(t, silent);
  const looking = codeOf(look(world.upstreams([world.upstream(site.url)])));
  await until(() => site.paths.length > 0, 'a request');
  world.stopping.abort(new CacheError('aborted', 'the service is stopping'));
  assert.equal(await looking, 'aborted');
});

test('a transfer coding that nobody asked for is a failure, not a body', async (t) => {
  const site = await startSite(t, (_, res) => {
    res.writeHead(200, { 'transfer-encoding': 'gzip, chunked' }).end('packed');
  });
  const world = createWorld(t);
  assert.equal(await codeOf(look(world.upstreams([world.upstream(site.url)]))), 'refused');
});
