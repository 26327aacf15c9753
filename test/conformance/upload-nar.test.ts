// Section 8 of docs/protocol.md, "Upload": who may upload, what is answered before the body, and NARs.
//
// Elsewhere: 40 and 64 with tokens in access, 41, 46 and 47 in push-limits, 42 in full-disk, 62 in upload-only, 63 in
// push-rules.
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { get, head, put, taken } from '../fixtures/client.ts';
import { defer } from '../fixtures/defer.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { type Compression, makePackage, sha256 } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const one = makePackage('upload', { size: 200_000 });
const LENGTH = String(one.file.length);
const EXPECT = { 'Content-Length': LENGTH, Expect: '100-continue' };

/** The files in the folder, at any depth. */
async function files(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

const FORWARDED: Record<string, string> = {
  'X-Forwarded-For': '127.0.0.1',
  Forwarded: 'for=127.0.0.1',
  Via: '1.1 proxy.example.org',
  Origin: 'http://example.org',
};
const UPLOADS: Record<string, string> = {
  'a NAR': one.narPath,
  'a narinfo': one.narInfoPath,
  'a listing': one.narInfoPath.replace('narinfo', 'ls'),
  'a log': `/log/${one.base}.drv`,
  'nix-cache-info': '/nix-cache-info',
};
for (const [name, value] of Object.entries(FORWARDED)) {
  for (const [what, path] of Object.entries(UPLOADS)) {
    test(`40: PUT of ${what} with ${name} → 401 before 100, nothing stored`, async (t) => {
      const service = await startTestService(t);
      const client = await rawConnect(t, service.url);
      client.send(requestText(`PUT ${path} HTTP/1.1`, { ...EXPECT, [name]: value }));
      const reply = await client.reply();
      assert.equal(reply.status, 401);
      assert.match(reply.body.toString(), /^[^<]+\n?$/);
      assert.deepEqual(await files(service.dir), []);
    });
  }
}

/** A machine may have no address but loopback: who connects to this one seems to come from elsewhere. */
const OUTSIDE = '127.0.0.2';

function makeOutside(t: TestContext): void {
  const onSocket = (message: unknown) => {
    const { socket } = message as { socket: Socket };
    if (socket.localAddress?.endsWith(OUTSIDE))
      Object.defineProperty(socket, 'remoteAddress', { value: '::ffff:192.0.2.1' });
  };
  subscribe('net.server.socket', onSocket);
  defer(t, () => unsubscribe('net.server.socket', onSocket));
}

test('40: PUT from an address that is not loopback → 401 before 100; GET is served', async (t) => {
  makeOutside(t);
  const service = await startTestService(t, { host: undefined });
  const { port } = new URL(service.url);
  const client = await rawConnect(t, `http://${OUTSIDE}:${port}`);
  client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, EXPECT));
  assert.equal((await client.reply()).status, 401);
  assert.equal((await get(`http://${OUTSIDE}:${port}`, '/nix-cache-info')).status, 200);
  assert.equal((await put(`http://127.0.0.1:${port}`, one.narPath, one.file)).status, 200);
  assert.deepEqual((await get(`http://${OUTSIDE}:${port}`, one.narPath)).body, one.file);
});

test('43: PUT with Expect, accepted → 100 at once, before any of the body', async (t) => {
  const service = await startTestService(t);
  for (const [path, body] of [
    [one.narPath, one.file],
    [one.narInfoPath, Buffer.from(one.narInfo)],
    [`/log/${one.base}.drv`, Buffer.from('text')],
  ] as const) {
    const client = await rawConnect(t, service.url);
    client.send(
      requestText(`PUT ${path} HTTP/1.1`, { 'Content-Length': String(body.length), Expect: '100-continue' }),
    );
    assert.equal((await client.reply()).status, 100);
    client.send(body);
    assert.ok(taken((await client.reply()).status), path);
  }
});

const REFUSED: Record<string, string> = {
  'an unknown path': '/index.html',
  'a NAR name with a slash': '/nar/x/y.nar',
  'a name that is no hash of a file': '/nar/opaque.nar',
  'a narinfo of 31 digits': `/${one.hash.slice(1)}.narinfo`,
  'the root': '/',
};
for (const [what, path] of Object.entries(REFUSED)) {
  test(`43: PUT to ${what} with Expect → refused before 100`, async (t) => {
    const service = await startTestService(t);
    const client = await rawConnect(t, service.url);
    client.send(requestText(`PUT ${path} HTTP/1.1`, EXPECT));
    const { status } = await client.reply();
    assert.ok([400, 401, 404, 405].includes(status), `found ${status}`);
    assert.deepEqual(await files(service.dir), []);
  });
}

test('43: an expectation that nobody knows → 417 or an answer, not silence', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  client.send(
    requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Content-Length': LENGTH, Expect: 'magic' }),
    one.file,
  );
  assert.ok([200, 417].includes((await client.reply()).status));
});

for (const compression of ['none', 'gzip', 'br', 'xz', 'bzip2'] satisfies Compression[]) {
  test(`44, 45: PUT of a NAR (${compression}) → 200, 201 or 204, read back at once`, async (t) => {
    const service = await startTestService(t);
    const { narPath, file } = makePackage('nar', { compression });
    assert.ok(taken((await put(service.url, narPath, file)).status));
    assert.equal((await head(service.url, narPath)).status, 200);
    assert.deepEqual((await get(service.url, narPath)).body, file);
  });
}

test('44: PUT of a NAR in chunks, without a length → as with one', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Transfer-Encoding': 'chunked' }));
  for (const part of [one.file.subarray(0, 5), one.file.subarray(5)]) {
    client.send(`${part.length.toString(16)}\r\n`, part, '\r\n');
  }
  client.send('0\r\n\r\n');
  assert.ok(taken((await client.reply()).status));
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
});

const WRONG: Record<string, Buffer> = {
  'one byte changed': Buffer.concat([one.file.subarray(0, -1), Buffer.from([1])]),
  'a byte more': Buffer.concat([one.file, Buffer.alloc(1)]),
  'a byte less': one.file.subarray(0, -1),
  'no bytes': Buffer.alloc(0),
};
for (const [what, body] of Object.entries(WRONG)) {
  test(`45: body with ${what} ≠ name → 400, nothing visible or left, the right one taken`, async (t) => {
    const service = await startTestService(t);
    const reply = await put(service.url, one.narPath, body);
    assert.equal(reply.status, 400);
    assert.ok(
      reply.text.length > 20 && reply.text.length < 1024,
      'a sentence that says what was expected and found',
    );
    assert.equal((await get(service.url, one.narPath)).status, 404);
    assert.deepEqual(await files(service.dir), []);
    assert.equal((await put(service.url, one.narPath, one.file)).status, 200);
  });
}

test('45: a wrong body for a NAR that is there → 400, the good one stays', async (t) => {
  const service = await startTestService(t);
  await put(service.url, one.narPath, one.file);
  assert.equal((await put(service.url, one.narPath, WRONG['one byte changed'] ?? '')).status, 400);
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
});

for (const [what, headers] of Object.entries({
  'shorter than its Content-Length': { 'Content-Length': LENGTH },
  'in chunks without the last': { 'Transfer-Encoding': 'chunked' },
})) {
  test(`46: a body ${what} → nothing visible or left`, async (t) => {
    const service = await startTestService(t);
    const client = await rawConnect(t, service.url);
    client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, { ...headers, Expect: '100-continue' }));
    assert.equal((await client.reply()).status, 100);
    const size = 'Content-Length' in headers ? '' : `${one.file.length.toString(16)}\r\n`;
    client.send(size, one.file.subarray(0, one.file.length - 1));
    client.destroy();
    await service.logged(/PUT \/nar\//);
    assert.equal((await get(service.url, one.narPath)).status, 404);
    await service.restart();
    assert.equal((await head(service.url, one.narPath)).status, 404);
    assert.deepEqual(await files(service.dir), []);
  });
}

test('48: the same NAR twice → success both times', async (t) => {
  const service = await startTestService(t);
  for (let i = 0; i < 2; i++) assert.ok(taken((await put(service.url, one.narPath, one.file)).status));
});

test('48: the same NAR by five clients at once → success for all', async (t) => {
  const service = await startTestService(t);
  const clients = await Promise.all(Array.from({ length: 5 }, () => rawConnect(t, service.url)));
  for (const client of clients) {
    client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, EXPECT));
    assert.equal((await client.reply()).status, 100);
    client.send(one.file.subarray(0, 100_000));
  }
  for (const client of clients) client.send(one.file.subarray(100_000));
  for (const client of clients) assert.ok(taken((await client.reply()).status));
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
});

test('48: a NAR while it is being fetched from an upstream → success, both right', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const [fetched, pushed] = await Promise.all([
    get(service.url, one.narPath),
    put(service.url, one.narPath, one.file),
  ]);
  assert.ok(fetched.complete && fetched.body.equals(one.file));
  assert.ok(taken(pushed.status));
  assert.equal((await head(service.url, one.narPath)).status, 200);
});

test('44: a NAR of 40 MiB → taken, read back', async (t) => {
  const service = await startTestService(t);
  const { narPath, file } = makePackage('large', { size: 40 * 2 ** 20 });
  assert.ok(taken((await put(service.url, narPath, file)).status));
  const reply = await get(service.url, narPath);
  assert.deepEqual(sha256(reply.body), sha256(file));
});
