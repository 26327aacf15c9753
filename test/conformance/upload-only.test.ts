// Section 8 of docs/protocol.md, 62: `/upload`, the cache without its upstreams.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { get, head, type Options, push, put } from '../fixtures/client.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package, readNarInfo } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { storedFiles } from '../fixtures/stored-files.ts';
import { startUpstream, type TestUpstream, whole } from '../fixtures/upstream.ts';

const far = makePackage('far', { size: 50_000 });
const own = makePackage('own', { size: 50_000, compression: 'br' });

function offer(upstream: TestUpstream, { narInfoPath, narInfo, narPath, file }: Package): void {
  upstream.on(narInfoPath, whole(narInfo));
  upstream.on(narPath, whole(file));
}

async function start(t: TestContext): Promise<{ service: TestService; upstream: TestUpstream }> {
  const upstream = await startUpstream(t);
  offer(upstream, far);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  return { service, upstream };
}

/** What a client gets, below `base`, for the package: status of its narinfo, and of its NAR if it gets that far. */
async function seen(base: string, one: Package, options: Options = {}): Promise<number[]> {
  const info = await get(
    base,
    one.narInfoPath.replace(/^/, new URL(base).pathname.replace(/\/$/, '')),
    options,
  );
  if (info.status !== 200) return [info.status];
  const prefix = new URL(base).pathname.replace(/\/$/, '');
  const nar = await get(base, `${prefix}/${field(info.text, 'URL')}`, options);
  if (nar.status === 200) assert.ok(nar.body.equals(one.file));
  return [info.status, nar.status];
}

/** Uploads as `nix copy --to …/upload` does: what is said to be there is not sent. How many files were sent. */
async function copyTo(base: string, prefix: string, one: Package): Promise<number> {
  if ((await get(base, prefix + one.narInfoPath)).status === 200) return 0;
  let sent = 0;
  if ((await head(base, prefix + one.narPath)).status === 404) {
    assert.equal((await put(base, prefix + one.narPath, one.file)).status, 200);
    sent++;
  }
  const { status, text } = await put(base, prefix + one.narInfoPath, one.narInfo);
  assert.equal(status, 200, text);
  return sent + 1;
}

/** What was fetched may still be on its way into the store. */
async function stored(service: TestService, { narPath }: Package): Promise<void> {
  await until(async () => (await head(service.url, narPath)).status === 200, 'the NAR to be stored');
}

test('62: what only an upstream has → 404, and the upstream is not asked', async (t) => {
  const { service, upstream } = await start(t);
  for (const path of [
    far.narInfoPath,
    far.narPath,
    `/log/${far.base}.drv`,
    `/${far.hash}.ls`,
    `${far.narPath}?hash=${far.hash}`,
  ]) {
    assert.equal((await get(service.url, `/upload${path}`)).status, 404, path);
    assert.equal((await head(service.url, `/upload${path}`)).status, 404, path);
  }
  assert.equal(upstream.count(), 0);
});

test('62: what is here because an upstream had it → 404 too, after a restart as well', async (t) => {
  const { service } = await start(t);
  assert.deepEqual(await seen(service.url, far), [200, 200]);
  await stored(service, far);
  for (let i = 0; i < 2; i++) {
    assert.equal((await get(service.url, `/upload${far.narInfoPath}`)).status, 404);
    assert.equal((await get(service.url, `/upload${far.narPath}`)).status, 404);
    assert.equal((await head(service.url, `/upload${far.narPath}`)).status, 404);
    await service.restart();
    assert.equal((await head(service.url, far.narPath)).status, 200);
  }
});

for (const [into, prefix] of [
  ['/upload', '/upload'],
  ['the root', ''],
] as const) {
  test(`62: what is pushed to ${into} is there in both`, async (t) => {
    const { service, upstream } = await start(t);
    assert.equal(await copyTo(service.url, prefix, own), 2);
    const others: [string, string][] = [
      [`/log/${own.base}.drv`, 'a log'],
      [`/${own.hash}.ls`, '{"version":1}'],
    ];
    for (const [path, text] of others)
      assert.equal((await put(service.url, prefix + path, text)).status, 200);
    const asked = upstream.count();
    for (let i = 0; i < 2; i++) {
      for (const base of [service.url, `${service.url}/upload`])
        assert.deepEqual(await seen(base, own), [200, 200]);
      for (const [path, text] of others) {
        assert.equal((await get(service.url, path)).text, text);
        assert.equal((await get(service.url, `/upload${path}`)).text, text);
      }
      assert.equal(upstream.count(), asked);
      assert.equal(await copyTo(service.url, '/upload', own), 0);
      await service.restart();
    }
  });
}

test('62: what came from an upstream becomes ours when it is pushed to /upload, and stays when that forgets it', async (t) => {
  const { service, upstream } = await start(t);
  assert.deepEqual(await seen(service.url, far), [200, 200]);
  assert.equal(await copyTo(service.url, '/upload', far), 2);
  assert.equal(await copyTo(service.url, '/upload', far), 0);
  await upstream.down();
  await service.restart();
  for (const base of [service.url, `${service.url}/upload`])
    assert.deepEqual(await seen(base, far), [200, 200]);
});

test('62: what an upstream has left here gives way to a rebuild that is pushed there; at the root, and once pushed, the first stays', async (t) => {
  const { service, upstream } = await start(t);
  assert.deepEqual(await seen(service.url, far), [200, 200]);
  await stored(service, far);
  const remembered = `/${field((await get(service.url, far.narInfoPath)).text, 'URL')}`;
  const [rebuilt, again] = ['rebuilt', 'again'].map((seed) => makePackage('far', { seed, size: 50_000 })) as [
    Package,
    Package,
  ];
  await push(service.url, rebuilt);
  assert.deepEqual(await seen(service.url, far), [200, 200], 'the first stays');
  assert.equal((await get(service.url, `/upload${far.narInfoPath}`)).status, 404);
  // Whoever is told that it is here, alone, must not find it gone when the upstream has lost it.
  assert.equal(await copyTo(service.url, '/upload', rebuilt), 1);
  assert.equal(await copyTo(service.url, '/upload', rebuilt), 0);
  await push(service.url, again);
  assert.equal((await put(service.url, `/upload${again.narInfoPath}`, again.narInfo)).status, 200);
  assert.ok((await get(service.url, remembered)).body.equals(far.file), 'clients remember the one before');
  await upstream.down();
  for (let i = 0; i < 2; i++) {
    for (const base of [service.url, `${service.url}/upload`])
      assert.deepEqual(await seen(base, rebuilt), [200, 200]);
    await service.restart();
  }
});

test('62: a NAR that a client need not send, as it is here from an upstream, becomes ours with the narinfo', async (t) => {
  const { service, upstream } = await start(t);
  assert.deepEqual(await seen(service.url, far), [200, 200]);
  await stored(service, far);
  // Another path with the same contents.
  const twin = makePackage('twin', { size: 50_000, seed: 'far' });
  assert.equal(twin.narPath, far.narPath);
  assert.equal(await copyTo(service.url, '', twin), 1);
  await upstream.down();
  for (let i = 0; i < 2; i++) {
    for (const base of [service.url, `${service.url}/upload`])
      assert.deepEqual(await seen(base, twin), [200, 200]);
    await service.restart();
  }
  assert.equal((await get(service.url, `/upload${far.narInfoPath}`)).status, 404);
  assert.equal((await storedFiles(service.dir, true)).size, 3);
});

test('62: a signature that is added to what came from an upstream does not make it ours', async (t) => {
  const { service } = await start(t);
  assert.deepEqual(await seen(service.url, far), [200, 200]);
  await stored(service, far);
  const signed = makePackage('far', { size: 50_000, keys: [{ name: 'k-1', seed: Buffer.alloc(32, 1) }] });
  assert.equal((await put(service.url, far.narInfoPath, signed.narInfo)).status, 200);
  const { text } = await get(service.url, far.narInfoPath);
  assert.deepEqual(readNarInfo(text).get('Sig'), readNarInfo(signed.narInfo).get('Sig'));
  assert.equal((await get(service.url, `/upload${far.narInfoPath}`)).status, 404);
  assert.deepEqual(await seen(service.url, far), [200, 200]);
});

test('62: HEAD answers as GET does, without a body', async (t) => {
  const { service } = await start(t);
  await copyTo(service.url, '/upload', own);
  for (const path of [own.narInfoPath, own.narPath, far.narInfoPath, far.narPath, '/nix-cache-info', '']) {
    const [asked, got] = [
      await head(service.url, `/upload${path}`),
      await get(service.url, `/upload${path}`),
    ];
    const { date: _, ...headers } = got.headers;
    const { date: __, ...same } = asked.headers;
    assert.deepEqual([asked.status, same, asked.body.length], [got.status, headers, 0], path);
  }
});

test('62: its nix-cache-info is that of the cache; it is taken when it is offered', async (t) => {
  const { service } = await start(t);
  const here = await get(service.url, '/upload/nix-cache-info');
  assert.equal(here.text, (await get(service.url, '/nix-cache-info')).text);
  assert.match(here.text, /^StoreDir: \/nix\/store\n/);
  assert.equal((await put(service.url, '/upload/nix-cache-info', 'StoreDir: /nix/store\n')).status, 200);
  assert.equal((await put(service.url, '/upload/nix-cache-info', 'StoreDir: /gnu\n')).status, 400);
});

test('62: what is refused elsewhere is refused here', async (t) => {
  const { service } = await start(t);
  assert.equal((await put(service.url, `/upload${own.narInfoPath}`, own.narInfo)).status, 400);
  assert.equal((await put(service.url, `/upload${own.narPath}`, far.file)).status, 400);
  assert.equal((await put(service.url, `/upload${far.narPath}`, far.file, { via: '1.1 x' })).status, 401);
  // The upstream has this NAR; for a push it has to be here.
  assert.equal((await put(service.url, `/upload${far.narInfoPath}`, far.narInfo)).status, 400);
  assert.equal((await storedFiles(service.dir, true)).size, 0);
});
