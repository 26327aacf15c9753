// Uploads that mean ill: bodies that unpack to more than they say, that are larger than anything, that never come.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { get, put, taken } from '../fixtures/client.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { makePackage, sha256 } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';

const MIB = 2 ** 20;
const one = makePackage('body');

async function assertNothingIn(service: TestService, ...folders: string[]): Promise<void> {
  await service.stop();
  for (const folder of folders)
    assert.deepEqual(await readdir(join(service.dir, folder)).catch(() => []), [], folder);
}

test('58: a NAR that unpacks to far more than its narinfo says → 400 without unpacking it all', async (t) => {
  const service = await startTestService(t);
  const bomb = gzipSync(Buffer.alloc(512 * MIB), { level: 1 });
  const path = `/nar/${encodeNix32(sha256(bomb))}.nar`;
  assert.ok(taken((await put(service.url, path, bomb)).status));
  const fields = { URL: path.slice(1), Compression: 'gzip', FileHash: undefined, FileSize: undefined };
  const { narInfo, narInfoPath } = makePackage('body', { fields });
  const reply = await put(service.url, narInfoPath, narInfo);
  assert.equal(reply.status, 400);
  assert.match(reply.text, /NarSize is wrong: expected \d+, found more than/);
  assert.equal((await get(service.url, narInfoPath)).status, 404);
});

test('a narinfo with thousands of references is taken; one of more than a megabyte is not', async (t) => {
  const service = await startTestService(t);
  assert.ok(taken((await put(service.url, one.narPath, one.file)).status));
  const references = (count: number) =>
    Array.from({ length: count }, (_, i) => `${'0'.repeat(32)}-reference-number-${i}`);
  const large = makePackage('body', { references: references(15_000) });
  assert.ok(taken((await put(service.url, one.narInfoPath, large.narInfo)).status));
  assert.ok((await get(service.url, one.narInfoPath)).body.length > 700_000);
  for (const hostile of [
    makePackage('body', { references: references(40_000) }).narInfo,
    one.narInfo + 'Sig: x\n'.repeat(200_000),
    one.narInfo + '\n'.repeat(2 * MIB),
    'A'.repeat(3 * MIB),
  ]) {
    const reply = await put(service.url, one.narInfoPath, hostile);
    assert.ok(hostile.length > MIB && reply.status === 413, `${reply.status} for ${hostile.length} bytes`);
  }
  const lines = await put(service.url, one.narInfoPath, one.narInfo + 'Sig: x\n'.repeat(100_000));
  assert.equal(lines.status, 400);
  assert.ok(lines.body.length < 1024);
});

for (const [what, framing] of [
  ['of a known length', 'Content-Length: 1000'],
  ['in chunks', 'Transfer-Encoding: chunked'],
  ['that is coded', 'Content-Length: 1000\r\nContent-Encoding: gzip'],
] as const) {
  test(`46: a body ${what} that stops coming → the connection is closed, nothing is left`, async (t) => {
    const service = await startTestService(t, {
      deadlines: { connectMs: 5000, firstByteMs: 5000, stallMs: 300 },
    });
    for (const path of [one.narPath, one.narInfoPath, `/log/${one.base}.drv`, '/nix-cache-info']) {
      const client = await rawConnect(t, service.url);
      client.send(requestText(`PUT ${path} HTTP/1.1\r\n${framing}`));
      if (framing.startsWith('T')) client.send('5\r\nhel');
      else client.send(gzipSync('hello').subarray(0, 12));
      assert.doesNotMatch((await client.closed()).toString(), /^HTTP\/1.1 [25]/);
    }
    assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
    await assertNothingIn(service, 'tmp');
  });
}

test('a body that says nothing of its end, and is larger than the limit → refused, nothing is left', async (t) => {
  const service = await startTestService(t, { config: { maxUploadBytes: MIB } });
  const client = await rawConnect(t, service.url);
  client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Transfer-Encoding': 'chunked' }));
  for (let sent = 0; sent < 3; sent++) client.send(`${MIB.toString(16)}\r\n`, Buffer.alloc(MIB), '\r\n');
  assert.equal((await client.reply()).status, 413);
  client.destroy();
  await assertNothingIn(service, 'tmp');
});
