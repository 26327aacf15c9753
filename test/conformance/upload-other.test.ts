// Section 8 of docs/protocol.md, "Upload": logs, listings, realisations, build traces and debug information, encoded
// bodies, and paths that try to leave the folder.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { get, head, put, taken } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { compress, makePackage, noise, sha256 } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream } from '../fixtures/upstream.ts';

const one = makePackage('other-uploads');
const LOG = `/log/${one.base}.drv`;
const LISTING = one.narInfoPath.replace('narinfo', 'ls');
const MIB = 2 ** 20;

/** Bytes that no text codec leaves as they are. */
const BYTES = Buffer.concat([Buffer.from('{"a":1}\r\n\0\xff\xfe', 'latin1'), noise(5000, 'bytes')]);
const HEX = sha256('drv').toString('hex');
const OBJECTS: Record<string, [path: string, type: RegExp]> = {
  '59: a realisation, raw !': [`/realisations/sha256:${HEX}!out.doi`, /^application\/json/],
  '59: a realisation, %21': [`/realisations/sha256%3A${HEX}%21out.doi`, /^application\/json/],
  '59: a build trace': [`/build-trace-v2/${one.base}.drv/out.doi`, /^application\/json/],
  '60: a log': [LOG, /^text\/plain; ?charset=utf-8/i],
  '60: a log without .drv': [`/log/${one.base}`, /^text\/plain/],
  '60: debug information': [`/debuginfo/${'0a'.repeat(20)}.debug`, /^application\/json/],
  '60: a listing': [LISTING, /^application\/json/],
};
for (const [what, [path, type]] of Object.entries(OBJECTS)) {
  test(`${what} → 200, GET byte-identical, also after a restart; HEAD knows it`, async (t) => {
    const upstream = await startUpstream(t);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    assert.equal((await head(service.url, path)).status, 404);
    assert.ok(taken((await put(service.url, path, BYTES)).status));
    for (const again of [async () => {}, service.restart]) {
      await again();
      const reply = await get(service.url, path);
      assert.equal(reply.status, 200);
      assert.ok(reply.body.equals(BYTES));
      assert.equal(reply.headers['content-length'], String(BYTES.length));
      assert.match(reply.headers['content-type'] ?? '', type);
      assert.equal((await head(service.url, path)).status, 200);
    }
    assert.ok(taken((await put(service.url, path, BYTES)).status), 'again');
  });
}

const TEXT = 'one line of a log\n'.repeat(500);
for (const path of [LOG, LISTING, `/debuginfo/${'0a'.repeat(20)}.debug`]) {
  for (const [coding, encode] of Object.entries({ gzip: gzipSync, br: brotliCompressSync })) {
    test(`57: ${path.slice(0, 6)}… with Content-Encoding ${coding} → decoded, GET plain`, async (t) => {
      const service = await startTestService(t);
      assert.ok(taken((await put(service.url, path, encode(TEXT), { 'content-encoding': coding })).status));
      const { text, headers } = await get(service.url, path);
      assert.equal(text, TEXT);
      assert.equal(headers['content-encoding'], undefined);
      assert.equal(headers['content-length'], String(TEXT.length));
    });
  }
}

const BAD_CODING: Record<string, [coding: string, body: Buffer, status: number]> = {
  'xz, which Node cannot unpack': ['xz', compress(Buffer.from(TEXT), 'xz'), 415],
  'bzip2, likewise': ['bzip2', compress(Buffer.from(TEXT), 'bzip2'), 415],
  'an unknown coding': ['rot13', Buffer.from(TEXT), 415],
  'gzip that is none': ['gzip', Buffer.from(TEXT), 400],
  'gzip cut short': ['gzip', gzipSync(TEXT).subarray(0, -9), 400],
  'br cut short': ['br', brotliCompressSync(TEXT).subarray(0, -3), 400],
  'gzip with its checksum wrong': [
    'gzip',
    Buffer.concat([gzipSync(TEXT).subarray(0, -8), Buffer.alloc(8)]),
    400,
  ],
};
for (const [what, [coding, body, expected]] of Object.entries(BAD_CODING)) {
  test(`58: ${what} → ${expected}, nothing visible`, async (t) => {
    const service = await startTestService(t);
    for (const path of [LOG, one.narInfoPath]) {
      assert.equal(
        (await put(service.url, path, body, { 'content-encoding': coding })).status,
        expected,
        path,
      );
      assert.equal((await get(service.url, path)).status, 404);
    }
  });
}

test('58: an encoding that cannot be unpacked is refused before 100', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  const headers = { 'Content-Length': '1000', 'Content-Encoding': 'xz', Expect: '100-continue' };
  client.send(requestText(`PUT ${LOG} HTTP/1.1`, headers));
  assert.equal((await client.reply()).status, 415);
});

const BOMBS: Record<string, [path: string, body: () => Buffer, coding: string]> = {
  'a log of 257 MiB in gzip': [LOG, () => gzipSync(Buffer.alloc(257 * MIB), { level: 1 }), 'gzip'],
  'a narinfo of 2 MiB in gzip': [one.narInfoPath, () => gzipSync(Buffer.alloc(2 * MIB)), 'gzip'],
  'a narinfo of 2 MiB in br': [one.narInfoPath, () => brotliCompressSync(Buffer.alloc(2 * MIB)), 'br'],
  'a narinfo of 2 MiB as it is': [one.narInfoPath, () => Buffer.alloc(2 * MIB), 'identity'],
};
for (const [what, [path, body, coding]] of Object.entries(BOMBS)) {
  test(`58: ${what} → 413, nothing visible`, async (t) => {
    const service = await startTestService(t);
    const client = await rawConnect(t, service.url);
    const bytes = body();
    const headers = { 'Content-Length': String(bytes.length), 'Content-Encoding': coding };
    client.send(requestText(`PUT ${path} HTTP/1.1`, headers), bytes);
    assert.equal((await client.reply()).status, 413);
    assert.equal((await get(service.url, path)).status, 404);
  });
}

/** Targets as they stand in the request line. */
const ESCAPES = [
  '/../outside.narinfo',
  '/nar/../../outside',
  '/nar/..',
  '/nar/.',
  '/..%2foutside',
  '/%2e%2e/outside',
  '/nar/%2e%2e/%2e%2e/outside',
  '/nar/%2e%2e%2f%2e%2e%2foutside.nar',
  '/nar/..%5c..%5coutside.nar',
  '/nar/%252e%252e%252foutside.nar',
  '/nar/..%c0%afoutside.nar',
  '/nar//etc/passwd',
  '//etc/passwd',
  '/%2fetc%2fpasswd',
  '/log/..',
  '/log/../../outside',
  '/log/%2e%2e',
  `/log/${one.hash}-..`,
  `/log/${one.hash}-../../../outside`,
  `/log/${one.hash}-a%2f..%2foutside.drv`,
  `/log/${one.hash}-a%00.drv`,
  `/build-trace-v2/${one.base}.drv/../../outside.doi`,
  `/build-trace-v2/${one.base}.drv/%2e%2e%2foutside.doi`,
  `/realisations/sha256:${HEX}!..%2foutside.doi`,
  '/debuginfo/../outside.debug',
  `/${one.hash}.narinfo%00`,
  `/${one.hash}%00.narinfo`,
  `/nar/${'0'.repeat(52)}.nar%00.xz`,
  `/nar/${'a'.repeat(5000)}.nar`,
  `/log/${one.hash}-${'a'.repeat(5000)}`,
  '/nar/%',
  '/nar/%zz',
  '/tmp/x',
  '/.',
  '*',
  'http://cache.test/../outside.narinfo',
];
for (const target of ESCAPES) {
  test(`61: ${target.slice(0, 60)} → 400 or 404, no file anywhere, no upstream request`, async (t) => {
    const upstream = await startUpstream(t);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    for (const method of ['GET', 'HEAD', 'PUT']) {
      const client = await rawConnect(t, service.url);
      client.send(
        requestText(`${method} ${target} HTTP/1.1`, method === 'PUT' ? { 'Content-Length': '4' } : {}),
      );
      if (method === 'PUT') client.send('evil');
      const { status } = await client.reply({ head: method === 'HEAD' });
      const allowed = method === 'PUT' ? [400, 401, 404, 405] : [400, 404];
      assert.ok(allowed.includes(status), `${method}: found ${status}`);
    }
    assert.deepEqual(await readdir(dirname(service.dir)), ['cache']);
    const entries = await readdir(service.dir, { recursive: true, withFileTypes: true });
    assert.deepEqual(
      // The service's own socket is none.
      entries.filter((entry) => !entry.isDirectory() && !entry.isSocket()),
      [],
    );
    assert.equal(upstream.count(), 0);
    assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
  });
}

test('61: a NUL byte as it is in the request line → 400, the service goes on', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  client.send(requestText('GET /nar/\0.nar HTTP/1.1'));
  assert.equal((await client.reply()).status, 400);
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
});
