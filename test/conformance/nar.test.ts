// Section 8 of docs/protocol.md, "NAR": stored files, HEAD, names that outlive a restart, and codings of upstreams.
//
// Not here, because it belongs to later work: 30 going on, after a restart, with a download that broke off.
import assert from 'node:assert/strict';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as zlib from 'node:zlib';
import { OFFERED } from '../../lib/bytes/codings.ts';
import { assertNotGood, get, head, push } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const SIZE = 300_000;
const one = makePackage('ranges', { size: SIZE });
const TOTAL = one.file.length;

test('23, 24: GET of a stored NAR → 200, Content-Length, Accept-Ranges, never encoded', async (t) => {
  const service = await startTestService(t);
  await push(service.url, one);
  for (const accepted of [undefined, 'zstd,br', 'gzip, deflate, br, zstd', 'identity;q=0, gzip']) {
    const headers = accepted === undefined ? {} : { 'accept-encoding': accepted };
    const reply = await get(service.url, one.narPath, { headers });
    assert.equal(reply.status, 200);
    assert.equal(reply.headers['content-length'], String(TOTAL));
    assert.equal(reply.headers['accept-ranges'], 'bytes');
    assert.equal(reply.headers['content-encoding'], undefined);
    assert.match(reply.headers['content-type'] ?? '', /^application\/x-nix-nar/);
    assert.ok(reply.body.equals(one.file));
  }
});

test('28: GET of a NAR unknown everywhere → 404', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const path of [
    one.narPath,
    `${one.narPath}?hash=${one.hash}`,
    '/nar/opaque-name.nar.zst',
    `${one.narPath}.xz`,
  ]) {
    assert.equal((await get(service.url, path)).status, 404, path);
  }
  assert.ok(upstream.count(one.narPath) > 0);
});

/** Removes the stored file that holds the body. */
async function evict(dir: string, body: Buffer): Promise<void> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const held = await Promise.all(files.map(async (file) => (await readFile(file)).includes(body)));
  const [found, ...others] = files.filter((_file, index) => held[index]);
  assert.ok(found !== undefined && others.length === 0, `expected one file with the body among ${files}`);
  await rm(found);
}

test('29, 30: after a restart, a NAR by the URL a client remembers, stored or evicted → 200', async (t) => {
  const upstream = await startUpstream(t);
  const opaque = makePackage('thirty', { size: 5000, url: '../files/opaque.nar?token=1' });
  upstream.on(`/cache${opaque.narInfoPath}`, whole(opaque.narInfo));
  upstream.on('/files/opaque.nar?token=1', whole(opaque.file));
  const service = await startTestService(t, { upstreams: [`${upstream.url}/cache`] });
  const path = `/${field((await get(service.url, opaque.narInfoPath)).text, 'URL')}`;
  await service.restart();
  assert.ok((await get(service.url, path)).body.equals(opaque.file), 'never fetched before');
  assert.equal(upstream.count(opaque.narInfoPath), 0);
  await service.restart();
  assert.ok((await get(service.url, path)).body.equals(opaque.file), 'stored');
  assert.equal(upstream.count('/files/opaque.nar'), 1);
  await service.stop();
  await evict(service.dir, opaque.file);
  await service.restart();
  assert.ok((await get(service.url, path)).body.equals(opaque.file), 'evicted');
  assert.equal(upstream.count('/files/opaque.nar'), 2);
});

test('38: HEAD of a NAR that only an upstream has → 404, no upstream request', async (t) => {
  const upstream = await startUpstream(t);
  upstream.otherwise(whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await head(service.url, one.narPath)).status, 404);
  assert.equal(upstream.count(), 0);
});

test('38: HEAD of a stored NAR → status and headers of GET', async (t) => {
  const service = await startTestService(t);
  await push(service.url, one);
  const [first, full] = [await head(service.url, one.narPath), await get(service.url, one.narPath)];
  for (const name of ['content-length', 'content-type', 'accept-ranges', 'etag']) {
    assert.equal(first.headers[name], full.headers[name], name);
  }
  const { status, headers } = await head(service.url, one.narPath, { range: 'bytes=5-' });
  assert.deepEqual([status, headers['content-range']], [200, undefined], 'Range is for GET alone');
});

test('39: HEAD and GET of a NAR while its PUT is in progress → 404', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  client.send(
    requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Content-Length': String(TOTAL), Expect: '100-continue' }),
  );
  assert.equal((await client.reply()).status, 100);
  client.send(one.file.subarray(0, TOTAL - 1));
  assert.equal((await head(service.url, one.narPath)).status, 404);
  assert.equal((await get(service.url, one.narPath)).status, 404);
  client.send(one.file.subarray(TOTAL - 1));
  assert.equal((await client.reply()).status, 200);
  assert.equal((await head(service.url, one.narPath)).status, 200);
});

/** A zstd frame of one raw block: what any decoder reads, and no encoder is needed for. */
function zstdFrame(body: Buffer): Buffer {
  const header = Buffer.from('28b52ffda000000000000000', 'hex');
  header.writeUInt32LE(body.length, 5);
  header.writeUIntLE((body.length << 3) | 1, 9, 3);
  return Buffer.concat([header, body]);
}
const CODINGS: Record<string, (body: Buffer) => Buffer> = {
  gzip: (body) => zlib.gzipSync(body),
  br: (body) => zlib.brotliCompressSync(body),
  zstd: zstdFrame,
  identity: (body) => body,
};
for (const [coding, encode] of Object.entries(CODINGS)) {
  for (const compression of ['none', 'xz'] as const) {
    test(`37: upstream sends a NAR (${compression}) encoded as ${coding} → the declared bytes`, async (t) => {
      const upstream = await startUpstream(t);
      const cold = makePackage('coded', { size: 3000, compression });
      upstream.on(cold.narInfoPath, whole(cold.narInfo));
      upstream.on(cold.narPath, whole(encode(cold.file), { 'content-encoding': coding }));
      const service = await startTestService(t, { upstreams: [upstream.url] });
      const path = `/${field((await get(service.url, cold.narInfoPath)).text, 'URL')}`;
      const reply = await get(service.url, path);
      assert.equal(reply.headers['content-encoding'], undefined);
      // A Node without zstd can only refuse.
      if (coding === 'zstd' && !('createZstdDecompress' in zlib)) return assertNotGood(reply);
      assert.equal(reply.status, 200);
      assert.ok(reply.body.equals(cold.file));
      // What is packed already gains nothing by it.
      const offered = compression === 'none' ? OFFERED : 'identity';
      assert.equal(upstream.requests.at(-1)?.headers['accept-encoding'], offered);
    });
  }
}

test('13: two upstreams use one name for different NARs → each path gets its own', async (t) => {
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  const packs = [makePackage('same-a', { url: 'nar/x.nar' }), makePackage('same-b', { url: 'nar/x.nar' })];
  for (const [index, upstream] of [first, second].entries()) {
    const pack = packs[index] as (typeof packs)[0];
    upstream.on(pack.narInfoPath, whole(pack.narInfo));
    upstream.on('/nar/x.nar', whole(pack.file));
  }
  const service = await startTestService(t, { upstreams: [first.url, second.url] });
  const served: [path: string, file: Buffer][] = [];
  for (const pack of packs) {
    served.push([`/${field((await get(service.url, pack.narInfoPath)).text, 'URL')}`, pack.file]);
  }
  for (const [path, file] of [...served.toReversed(), ...served]) {
    assert.ok((await get(service.url, path)).body.equals(file));
  }
});

test('29: a NAR name with the store hash of another path, or with none → its own bytes', async (t) => {
  const upstream = await startUpstream(t);
  const packs = [makePackage('mixed-a'), makePackage('mixed-b', { compression: 'xz' })];
  const [a, b] = packs as [(typeof packs)[0], (typeof packs)[0]];
  for (const pack of packs) {
    upstream.on(pack.narInfoPath, whole(pack.narInfo));
    upstream.on(pack.narPath, whole(pack.file));
  }
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const pack of packs) await get(service.url, pack.narInfoPath);
  const queries = [
    `?hash=${b.hash}`,
    `?hash=${a.hash}`,
    '?hash=',
    '?hash',
    '?hash=../..',
    '?x=1',
    `?hash=${b.hash}&hash=${a.hash}`,
  ];
  for (const query of queries) {
    const reply = await get(service.url, `${a.narPath}${query}`);
    assert.equal(reply.status, 200, query);
    assert.ok(reply.body.equals(a.file), query);
  }
});
