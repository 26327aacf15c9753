// Section 8 of docs/protocol.md: ncps, selector4nix and ncro as upstreams, and as clients. They pass on what another server has, so what
// they say may be about that one.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { get, open } from '../fixtures/client.ts';
import { assertServed, startGatedNar } from '../fixtures/gated-nar.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package, readNarInfo } from '../fixtures/nar.ts';
import { askAsNcps, askAsNcro, askAsSelector4nix } from '../fixtures/server-clients.ts';
import { LISTING, LOG, serveAsNcps, serveAsNcro, serveAsSelector4nix } from '../fixtures/servers.ts';
import { startUpstream, status, whole } from '../fixtures/upstream.ts';

const MIB = 2 ** 20;
const SERVERS = [serveAsNcps, serveAsSelector4nix, serveAsNcro];
/** In front of a file server that gives no parts. */
const serveWithoutParts: typeof serveAsNcro = (upstream, name, options) =>
  serveAsNcro(upstream, name, { ...options, parts: false });

const lookUp = async (service: TestService, { narInfoPath }: Package) =>
  `/${field((await get(service.url, narInfoPath)).text, 'URL')}`;

async function start(t: TestContext, serve: (typeof SERVERS)[number], options = {}) {
  let passed = 0;
  const now = () => performance.now() + passed;
  const upstream = await startUpstream(t);
  const router = serve(upstream, 'passed-on', options);
  const service = await startTestService(t, { upstreams: [upstream.url], now });
  const wait = (ms: number) => {
    passed += ms;
  };
  return { upstream, router, service, wait };
}

for (const [what, serve, compression] of [
  ['ncps ends it short', serveAsNcps, 'xz'],
  ['ncps ends a plain one short, of which it tells no size', serveAsNcps, 'none'],
  ['selector4nix cuts it', serveAsSelector4nix, 'xz'],
  ['ncro cuts it', serveAsNcro, 'xz'],
  ['ncro cuts it and gives no parts', serveWithoutParts, 'xz'],
] as const) {
  test(`87: what is behind a server is away for a moment: ${what}, then answers 404 or 500 → no client notices`, async (t) => {
    const { upstream, router, service } = await start(t, serve, { compression, size: 2 * MIB });
    const path = await lookUp(service, router.one);
    router.awayBehind(MIB);
    const client = await open(service.url, path);
    await client.atLeast(MIB / 2);
    await upstream.asked(router.narPath, 3);
    router.back();
    const { body, complete } = await client.finish();
    assert.ok(complete && body.equals(router.one.file));
  });
}

test('87: what is behind them is away when a NAR is asked for → found again after seconds, its narinfo too', async (t) => {
  const lost = async (serve: (typeof SERVERS)[number]) => {
    const { router, service, wait } = await start(t, serve);
    const path = await lookUp(service, router.one);
    router.away();
    const { status: code } = await get(service.url, path);
    assert.equal(code, router.name === 'ncps' ? 502 : 404, router.name);
    router.back();
    wait(10_000);
    assert.equal((await get(service.url, router.one.narInfoPath)).status, 200, router.name);
    await assertServed(service, path, router.one.file);
  };
  await Promise.all(SERVERS.map(lost));
});

test('16: what is behind ncro is away when a narinfo is asked for first → 502, and 200 as soon as it is back', async (t) => {
  const { upstream, router, service } = await start(t, serveAsNcro);
  router.away();
  const others = ['first', 'second'].map((name) => makePackage(name));
  for (const { narInfoPath } of others) upstream.on(narInfoPath, status(502));
  for (const { narInfoPath } of [...others, router.one])
    assert.equal((await get(service.url, narInfoPath)).status, 502);
  await service.logged(/believed dead/);
  router.back();
  assert.equal((await get(service.url, router.one.narInfoPath)).status, 200);
  await assertServed(service, await lookUp(service, router.one), router.one.file);
});

test('75: ncps, whose nix-cache-info ends without LF and is 405 to HEAD → alive again after an outage', async (t) => {
  const { upstream, router, service } = await start(t, serveAsNcps);
  const broken = ['first', 'second', 'third'].map((name) => makePackage(name));
  for (const { narInfoPath } of broken) upstream.on(narInfoPath, status(500));
  for (const { narInfoPath } of broken) assert.equal((await get(service.url, narInfoPath)).status, 502);
  await service.logged(/believed dead/);
  upstream.on(`/${'0'.repeat(32)}.narinfo`, status(500));
  await service.logged(/alive again/);
  await assertServed(service, await lookUp(service, router.one), router.one.file);
});

test('88: 422 and 500 for the names of others → what the others lost is 404, and nobody is believed dead', async (t) => {
  const mirror = await startUpstream(t);
  const upstreams = [await startUpstream(t), await startUpstream(t), await startUpstream(t)];
  const routers = SERVERS.map((serve, i) => serve(upstreams[i] ?? mirror, `own-${i}`));
  const urls = [mirror, ...upstreams].map(({ url }) => url);
  const service = await startTestService(t, { upstreams: urls });
  routers[0]?.away();
  const lost = async (name: string) => {
    const { narInfoPath, narInfo, narPath } = makePackage(name, { compression: 'xz' });
    mirror.on(narInfoPath, whole(narInfo));
    const path = `/${field((await get(service.url, narInfoPath)).text, 'URL')}`;
    assert.equal((await get(service.url, path)).status, 404);
    assert.equal((await get(service.url, narPath)).status, 404, 'by its name alone');
  };
  await Promise.all(['first', 'second', 'third', 'fourth', 'fifth'].map(lost));
  routers[0]?.back();
  for (const { one } of routers) await assertServed(service, await lookUp(service, one), one.file);
  assert.deepEqual(
    service.log.filter((line) => line.includes('believed dead')),
    [],
  );
});

test('69: a NAR that is named by its NarHash, as cache.nixos.org does → whole, by that name too', async (t) => {
  for (const serve of SERVERS) {
    for (const [compression, ending] of [
      ['xz', '.xz'],
      ['br', '.br'],
    ] as const) {
      const narHash = field(makePackage('passed-on').narInfo, 'NarHash').replace('sha256:', '');
      const url = `nar/${narHash}.nar${ending}`;
      const { router, service } = await start(t, serve, { compression, url });
      // The router itself needs its query.
      if (router.name !== 'selector4nix') await assertServed(service, `/${url}`, router.one.file);
      await assertServed(service, await lookUp(service, router.one), router.one.file);
    }
  }
});

test('82: addresses in narinfos end as the coding does, and upstreams are asked by their own', async (t) => {
  for (const serve of SERVERS) {
    for (const [compression, ending] of [
      ['xz', '\\.nar\\.xz'],
      ['none', '\\.nar'],
    ] as const) {
      const { upstream, router, service } = await start(t, serve, { compression });
      const { one, narPath } = router;
      const { text } = await get(service.url, one.narInfoPath);
      assert.match(field(text, 'URL'), new RegExp(`^nar/${one.hash}-[0-9a-z]{52}${ending}$`));
      assert.deepEqual(readNarInfo(text).get('Sig'), readNarInfo(one.narInfo).get('Sig'));
      for (const path of [field(text, 'URL'), `${one.narPath}?hash=${one.hash}`.slice(1)])
        await assertServed(service, `/${path}`, one.file);
      await assertServed(service, `${one.narPath}%3Fhash=${one.hash}`, one.file);
      const nars = upstream.requests.filter(({ url }) => url.startsWith('/nar/'));
      assert.deepEqual([...new Set(nars.map(({ url }) => url))], [narPath], router.name);
    }
  }
});

test('70: a large NAR from those that ignore a Range, pass it on or answer 404 to it → whole, in few requests', async (t) => {
  for (const serve of [...SERVERS, serveWithoutParts]) {
    const { upstream, router, service } = await start(t, serve, { compression: 'none', size: 9 * MIB });
    await assertServed(service, await lookUp(service, router.one), router.one.file);
    assert.equal(upstream.count(router.one.narInfoPath), 1, 'its narinfo is not in doubt');
    const most = serve === serveAsNcro ? 16 : 2;
    assert.ok(upstream.count(router.narPath) <= most, `${router.name}: ${upstream.count(router.narPath)}`);
  }
});

test('86: listings and logs are had from the one that passes them on', async (t) => {
  const upstreams = [await startUpstream(t), await startUpstream(t), await startUpstream(t)] as const;
  serveAsNcps(upstreams[0], 'listed');
  serveAsNcro(upstreams[1], 'listed');
  const { one } = serveAsSelector4nix(upstreams[2], 'listed');
  const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url) });
  assert.equal((await get(service.url, `/${one.hash}.ls`)).text, LISTING);
  assert.equal((await get(service.url, `/log/${one.base}.drv`)).text, LOG);
  const { hash, base } = makePackage('not-listed');
  for (const path of [`${hash}.ls`, `${hash}.ls.xz`, `log/${base}.drv`])
    assert.equal((await get(service.url, `/${path}`)).status, 404, path);
});

test('83: selector4nix asks for parts of a cold NAR → the first is whole before the others have come', async (t) => {
  const one = makePackage('in-parts', { size: 22 * MIB });
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const first = askAsSelector4nix.first(service.url, path);
  gate.release(5 * MIB);
  const part = await first;
  assert.ok(part.complete && part.body.equals(one.file.subarray(0, 4 * MIB)));
  const rest = askAsSelector4nix.rest(service.url, path, part);
  gate.release();
  assert.ok((await rest).body.equals(one.file));
  assert.equal(upstream.count(one.narPath), 1);
});

test('25: selector4nix asks for more than a small NAR has → all of it, cold and kept', async (t) => {
  for (const serve of SERVERS) {
    const { router, service } = await start(t, serve, { compression: 'none' });
    const path = await lookUp(service, router.one);
    for (let i = 0; i < 2; i++) {
      const first = await askAsSelector4nix.first(service.url, path);
      assert.equal(
        first.headers['content-range'],
        `bytes 0-${first.body.length - 1}/${router.one.file.length}`,
      );
      const { status: code, body } = await askAsSelector4nix.rest(service.url, path, first);
      assert.ok(code === 200 && body.equals(router.one.file));
    }
  }
});

test('6: ncro asks HEAD before GET, and for parts of what is cold; ncps names codings → what clients of Nix get', async (t) => {
  for (const serve of SERVERS) {
    const { router, service } = await start(t, serve, { compression: 'none', size: 100_000 });
    const { file, hash, narInfoPath } = router.one;
    const found = await askAsNcro.narInfo(service.url, narInfoPath);
    assert.equal(found.status, 200);
    const path = `/${field(found.body.toString(), 'URL')}`;
    const part = await askAsNcro.nar(service.url, path, 'bytes=60000-');
    assert.ok(part.status === 206 && part.complete && part.body.equals(file.subarray(60_000)));
    assert.equal((await askAsNcro.nar(service.url, path, `bytes=${file.length}-`)).status, 404);
    const narInfo = await askAsNcps.narInfo(service.url, narInfoPath);
    assert.ok(narInfo.status === 200 && narInfo.body.equals(found.body));
    assert.ok((await askAsNcps.nar(service.url, path)).body.equals(file));
    assert.equal((await askAsNcps.narInfo(service.url, `/${hash.replace(/./g, '0')}.narinfo`)).status, 404);
  }
});
