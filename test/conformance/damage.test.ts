// Stored files that are not any more what they were: no client gets one whole, and what upstreams have is fetched anew.
import assert from 'node:assert/strict';
import { type FileHandle, open as openFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { get } from '../fixtures/client.ts';
import { filesOf } from '../fixtures/forgetting.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../fixtures/nar.ts';
import { startUpstream, type TestUpstream, whole } from '../fixtures/upstream.ts';

const HEADER_BYTES = 1024;

/** A service that has stored the package, and was restarted since. */
async function holding(
  t: TestContext,
  one: Package,
): Promise<{ upstream: TestUpstream; service: TestService; path: string }> {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  assert.ok((await get(service.url, path)).body.equals(one.file));
  await service.restart();
  return { upstream, service, path };
}

/** Flips one bit of the object's body on the disk, `at` bytes into it. */
async function damage(service: TestService, path: string, at: number): Promise<void> {
  let file: FileHandle | undefined;
  try {
    file = await Promise.any(filesOf(service.dir, path).map((one) => openFile(one, 'r+')));
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, HEADER_BYTES + at);
    byte[0] = (byte[0] ?? 0) ^ 1;
    await file.write(byte, 0, 1, HEADER_BYTES + at);
  } finally {
    await file?.close();
  }
}

const quarantined = async (service: TestService) =>
  (await readdir(join(service.dir, 'quarantine'))).filter((name) => !name.endsWith('.reason'));

test('a small NAR with a bit flipped on the disk is fetched anew for the same request', async (t) => {
  const one = makePackage('small', { size: 50_000 });
  const { upstream, service, path } = await holding(t, one);
  await damage(service, path, 30_000);
  const reply = await get(service.url, path);
  assert.ok(reply.complete && reply.body.equals(one.file));
  assert.equal(upstream.count(one.narPath), 2);
  assert.equal((await quarantined(service)).length, 1);
  assert.ok((await get(service.url, path)).body.equals(one.file));
  assert.equal(upstream.count(one.narPath), 2);
});

test('a large one never reaches a client whole, and the next request gets it right', async (t) => {
  const one = makePackage('large', { size: 3_000_000 });
  for (const at of [0, 1_500_000, one.file.length - 1]) {
    await t.test(`a bit flipped at ${at}`, async (t) => {
      const { service, path } = await holding(t, one);
      await damage(service, path, at);
      const damaged = await get(service.url, path);
      assert.equal(damaged.complete, false);
      assert.ok(damaged.body.length < one.file.length);
      await service.logged(/is damaged \(the SHA-256 of its body is/);
      assert.equal((await quarantined(service)).length, 1);
      const reply = await get(service.url, path);
      assert.ok(reply.complete && reply.body.equals(one.file));
    });
  }
});

test('a damaged narinfo is fetched anew', async (t) => {
  const one = makePackage('narinfo');
  const { service } = await holding(t, one);
  const before = (await get(service.url, one.narInfoPath)).text;
  await service.restart();
  await damage(service, one.narInfoPath, one.narInfo.length - 5);
  assert.equal((await get(service.url, one.narInfoPath)).text, before);
  assert.equal((await quarantined(service)).length, 1);
});

test('damage that nobody can make good is an honest miss', async (t) => {
  const one = makePackage('gone', { size: 50_000 });
  const { upstream, service, path } = await holding(t, one);
  upstream.on(one.narPath, (_, res) => res.writeHead(404).end());
  await damage(service, path, 1);
  assert.equal((await get(service.url, path)).status, 404);
});
