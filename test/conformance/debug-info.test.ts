// Debug information: an index that leads from a build id to a NAR, under two names; and what is not served of which the NAR is gone.
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { get, head, push, put } from '../fixtures/client.ts';
import { evict, filesOf } from '../fixtures/forgetting.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage, type Package } from '../fixtures/nar.ts';
import { startUpstream, status, whole } from '../fixtures/upstream.ts';

const ID = 'ab'.repeat(20);
const [PLAIN, ENDED] = [`/debuginfo/${ID}`, `/debuginfo/${ID}.debug`];
const index = (one: Package) =>
  JSON.stringify({ archive: `..${one.narPath}`, member: `lib/debug/.build-id/ab/${ID.slice(2)}.debug` });

for (const there of [PLAIN, ENDED]) {
  test(`77: an upstream has ${there} → both names, asked of it once`, async (t) => {
    const one = makePackage('debug', { compression: 'xz' });
    const upstream = await startUpstream(t);
    upstream.on(there, whole(index(one)));
    upstream.on(one.narPath, whole(one.file));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    for (const path of [PLAIN, ENDED, PLAIN]) {
      const reply = await get(service.url, path);
      assert.equal(reply.status, 200, path);
      assert.equal(reply.text, index(one));
      assert.equal((await head(service.url, path)).status, 200);
    }
    assert.equal(upstream.count(there), 1);
    assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
  });

  test(`77: ${there} is pushed → both names`, async (t) => {
    const one = makePackage('debug');
    const service = await startTestService(t);
    await push(service.url, one);
    assert.equal((await put(service.url, there, index(one))).status, 200);
    for (const path of [PLAIN, ENDED, `/upload${PLAIN}`, `/upload${ENDED}`])
      assert.equal((await get(service.url, path)).text, index(one), path);
  });
}

test('an index whose NAR is nowhere → 404, and 200 once it is there again', async (t) => {
  const one = makePackage('debug', { compression: 'xz' });
  const upstream = await startUpstream(t);
  upstream.on(PLAIN, whole(index(one)));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const path of [PLAIN, ENDED]) {
    assert.equal((await get(service.url, path)).status, 404, path);
    assert.equal((await head(service.url, path)).status, 404, path);
  }
  upstream.on(one.narPath, status(503));
  assert.equal((await get(service.url, PLAIN)).status, 200, 'who fails may have it');
  upstream.on(one.narPath, status(404));
  await push(service.url, one);
  assert.equal((await get(service.url, PLAIN)).status, 200);
});

test('a pushed index whose NAR is gone → 404 at the root and below /upload, so that it is pushed again', async (t) => {
  const one = makePackage('debug');
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  assert.equal((await put(service.url, ENDED, index(one))).status, 200);
  await evict(service, one.narPath);
  for (const path of [ENDED, `/upload${ENDED}`])
    assert.equal((await head(service.url, path)).status, 404, path);
});

test('a pushed narinfo whose NAR is gone → 404, and another push brings both', async (t) => {
  const one = makePackage('forsaken');
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  await evict(service, one.narPath);
  assert.equal((await get(service.url, one.narPath)).status, 404);
  assert.equal((await get(service.url, one.narInfoPath)).status, 404);
  assert.equal((await head(service.url, one.narInfoPath)).status, 404);
  await push(service.url, one);
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
});

test('a pushed narinfo that was asked for a moment before its NAR is found to be gone → 404 at once', async (t) => {
  const one = makePackage('just-asked');
  const service = await startTestService(t, { now: () => 0 });
  await push(service.url, one);
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  for (const file of filesOf(service.dir, one.narPath)) await rm(file, { force: true });
  assert.equal((await get(service.url, one.narPath)).status, 404);
  assert.equal((await get(service.url, one.narInfoPath)).status, 404);
});

test('a pushed narinfo whose NAR an upstream has, or may have → 200', async (t) => {
  const one = makePackage('elsewhere');
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  for (const answer of [whole(one.file), status(503)]) {
    upstream.on(one.narPath, answer);
    await service.restart();
    for (const file of filesOf(service.dir, one.narPath)) await rm(file, { force: true });
    assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  }
});

test('a pushed narinfo whose NAR is gone gives way to that of an upstream', async (t) => {
  const one = makePackage('both', { compression: 'xz', seed: 'x' });
  const far = makePackage('both', { compression: 'br', seed: 'x' });
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  upstream.on(far.narInfoPath, whole(far.narInfo));
  upstream.on(far.narPath, whole(far.file));
  await evict(service, one.narPath);
  assert.match((await get(service.url, one.narInfoPath)).text, /^Compression: br$/m);
});
