// Section 8 of docs/protocol.md, 74: caches that have each other as upstream, or themselves. What comes round is answered from what
// is here, so that a peer may stand before the world.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { get, type Options, push, type Reply } from '../fixtures/client.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../fixtures/nar.ts';
import { startRelay } from '../fixtures/relay.ts';
import { gated, startUpstream, type TestUpstream, whole } from '../fixtures/upstream.ts';

/** A wait for each other would end only with these. */
const deadlines = { connectMs: 100_000, firstByteMs: 100_000, stallMs: 100_000 };
/** Far less than that, and far more than a busy machine needs. */
const SOON = { timeout: 60_000 };

/** Services whose upstreams are as listed: others by their place, then the world. */
async function startRing(t: TestContext, peers: readonly number[][], worlds: readonly TestUpstream[][]) {
  const services: TestService[] = [];
  const portOf = (index: number) => Number(new URL((services[index] as TestService).url).port);
  const doors = await Promise.all(
    peers.map((_, index) => startRelay(t, () => connect(portOf(index), '127.0.0.1'))),
  );
  const config = { negativeTtlMs: 60_000 };
  for (const [index, of] of peers.entries()) {
    const upstreams = [
      ...of.map((peer) => doors[peer]?.url ?? ''),
      ...(worlds[index] ?? []).map(({ url }) => url),
    ];
    services.push(await startTestService(t, { upstreams, deadlines, config }));
  }
  return {
    ask: (index: number, path: string, options: Options = {}): Promise<Reply> =>
      get(services[index]?.url ?? '', path, options),
    services,
  };
}

function has(world: TestUpstream, one: Package): void {
  world.on(one.narInfoPath, whole(one.narInfo));
  world.on(one.narPath, whole(one.file));
}

function assertNobodyDied(services: readonly TestService[]): void {
  for (const { log } of services)
    assert.deepEqual(
      log.filter((line) => /believed dead| 50\d \S+ \d+ ms$/.test(line)),
      [],
    );
}

const lost = makePackage('lost');
const LACKING = [
  lost.narInfoPath,
  lost.narPath,
  `/${lost.hash}.ls`,
  `/log/${lost.base}.drv`,
  '/debuginfo/0123456789abcdef0123456789abcdef01234567.debug',
];

test('74: a service with itself as upstream', SOON, async (t) => {
  const { ask, services } = await startRing(t, [[0]], [[]]);
  for (const path of LACKING)
    for (const method of ['GET', 'HEAD']) assert.equal((await ask(0, path, { method })).status, 404, path);
  const one = makePackage('one');
  await push(services[0]?.url ?? '', one);
  assert.equal((await ask(0, one.narInfoPath)).status, 200);
  assertNobodyDied(services);
});

test('74: two services, each first asking the other and then the world', SOON, async (t) => {
  const world = await startUpstream(t);
  const packages = Array.from({ length: 24 }, (_, index) => makePackage(`one-${index}`));
  for (const one of packages) has(world, one);
  const { ask, services } = await startRing(t, [[1], [0]], [[world], [world]]);

  await t.test('what the world has is found, whoever is asked, and by both at once', async () => {
    const all = packages.map(async (one) => {
      const narInfos = await Promise.all([ask(0, one.narInfoPath), ask(1, one.narInfoPath)]);
      for (const { status } of narInfos) assert.equal(status, 200);
      const path = `/${field(narInfos[0]?.text ?? '', 'URL')}`;
      const nars = await Promise.all([ask(0, path), ask(1, path)]);
      for (const { body } of nars) assert.deepEqual(body, one.file);
    });
    await Promise.all(all);
  });
  await t.test('what neither has is soon missing', async () => {
    for (const path of LACKING)
      for (const index of [0, 1])
        for (const method of ['GET', 'HEAD'])
          assert.equal((await ask(index, path, { method })).status, 404, `${method} ${path}`);
  });
  await t.test('what the world lacks is missing for both at once', async () => {
    const hashes = Array.from({ length: 30 }, (_, index) => makePackage(`none-${index}`).narInfoPath);
    const all = hashes.flatMap((path) => [ask(0, path), ask(1, path)]);
    for (const { status } of await Promise.all(all)) assert.equal(status, 404);
  });
  assertNobodyDied(services);
});

test('74: what one of the two gets later, the other finds', SOON, async (t) => {
  const { ask, services } = await startRing(t, [[1], [0]], [[], []]);
  const one = makePackage('one');
  assert.equal((await ask(0, one.narInfoPath)).status, 404);
  await push(services[0]?.url ?? '', one);
  // It was asked for it before, by the one that has it now: that was no miss of its own.
  const found = await ask(1, one.narInfoPath);
  assert.equal(found.status, 200);
  assert.deepEqual((await ask(1, `/${field(found.text, 'URL')}`)).body, one.file);
});

test('74: three services in a circle, the last of which knows the world', SOON, async (t) => {
  const world = await startUpstream(t);
  const one = makePackage('one');
  has(world, one);
  const { ask, services } = await startRing(t, [[1], [2], [0]], [[], [], [world]]);
  for (const path of LACKING)
    for (const { status } of await Promise.all([ask(0, path), ask(1, path), ask(2, path)]))
      assert.equal(status, 404, path);
  const all = await Promise.all([ask(0, one.narInfoPath), ask(1, one.narInfoPath), ask(2, one.narInfoPath)]);
  for (const { status } of all) assert.equal(status, 200);
  assert.deepEqual((await ask(0, `/${field(all[0]?.text ?? '', 'URL')}`)).body, one.file);
  assertNobodyDied(services);
});

test('74: a NAR that is on its way from the world crosses the link once for both', SOON, async (t) => {
  const world = await startUpstream(t);
  const one = makePackage('one', { size: 300_000 });
  has(world, one);
  const gate = gated(one.file);
  world.on(one.narPath, gate.handler);
  const { ask } = await startRing(t, [[1], [0]], [[world], [world]]);
  const path = `/${field((await ask(0, one.narInfoPath)).text, 'URL')}`;
  const first = ask(0, path);
  await world.asked(one.narPath);
  gate.release(100_000);
  const second = ask(1, path);
  const third = ask(0, path);
  setTimeout(() => gate.release(), 300);
  for (const { body } of await Promise.all([first, second, third])) assert.deepEqual(body, one.file);
  assert.equal(world.count(one.narPath), 1);
});

test('74: Via names the instances only, and those of others tell nothing', SOON, async (t) => {
  const world = await startUpstream(t);
  const one = makePackage('one');
  const { ask } = await startRing(t, [[]], [[world]]);
  const NAME = 'nix-binary-cache-[0-9a-f]{16}';
  const before = '1.1 nix-binary-cache-0123456789abcdef';
  const cases: [via: string | undefined, sent: RegExp][] = [
    [undefined, new RegExp(`^1\\.1 ${NAME}$`)],
    ['1.1 varnish (Varnish/7.1), 1.0 fred, HTTP/1.1 nix-binary-cache', new RegExp(`^1\\.1 ${NAME}$`)],
    [`1.0 fred, ${before} (x), 1.1 caddy`, new RegExp(`^${before}, 1\\.1 ${NAME}$`)],
    [
      `1.1 xnix-binary-cache-0123456789abcdef, 1.1 nix-binary-cache-0123456789abcdefa`,
      new RegExp(`^1\\.1 ${NAME}$`),
    ],
  ];
  for (const [index, [via, sent]] of cases.entries()) {
    const path = makePackage(`via-${index}`).narInfoPath;
    const reply = await ask(0, path, via === undefined ? {} : { headers: { via } });
    assert.equal(reply.status, 404);
    assert.match((await world.asked(path)).headers.via ?? '', sent);
    // Who we are only others of our kind are told.
    if (sent.source.includes('0123456789abcdef'))
      assert.match(reply.headers.via ?? '', new RegExp(`^1\\.1 ${NAME}$`));
    else assert.equal(reply.headers.via, undefined);
  }
  // No chain that anybody wants is so long.
  const long = Array.from({ length: 8 }, (_, index) => `1.1 nix-binary-cache-000000000000000${index}`).join(
    ', ',
  );
  assert.equal((await ask(0, one.narInfoPath, { headers: { via: long } })).status, 404);
  assert.equal(world.count(one.narInfoPath), 0);
});
