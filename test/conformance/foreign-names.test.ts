// Section 8 of docs/protocol.md, 88: a NAR's name means nothing to an upstream that was never asked for the narinfo it is from.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { get } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, sha256 } from '../fixtures/nar.ts';
import { serveAsAttic, serveAsHarmonia } from '../fixtures/servers.ts';
import { startUpstream, status, whole } from '../fixtures/upstream.ts';

const NAMES = ['first', 'second', 'third', 'fourth', 'fifth'] as const;

test('88: attic answers 500 to the NAR names of others: what the others lost is 404, and attic stays alive', async (t) => {
  const [mirror, attic] = [await startUpstream(t), await startUpstream(t)];
  const { one, narPath } = serveAsAttic(attic, 'in-attic');
  const service = await startTestService(t, { upstreams: [mirror.url, attic.url] });
  const lookUp = async (narInfoPath: string) =>
    `/${field((await get(service.url, narInfoPath)).text, 'URL')}`;
  const evicted = NAMES.map((name) => makePackage(name, { compression: 'xz' }));
  for (const { narInfoPath, narInfo } of evicted) mirror.on(narInfoPath, whole(narInfo));
  const lost = async ({ narInfoPath, narPath: byName }: (typeof evicted)[number]) => {
    assert.equal((await get(service.url, await lookUp(narInfoPath))).status, 404);
    assert.equal((await get(service.url, byName)).status, 404, 'by its name alone');
  };
  await Promise.all(evicted.map(lost));
  const reply = await get(service.url, await lookUp(one.narInfoPath));
  assert.ok(reply.complete && reply.body.equals(one.file));
  assert.equal(attic.count(narPath), 1);
  assert.deepEqual(
    service.log.filter((line) => line.includes('believed dead')),
    [],
  );
});

test('88: where its own narinfo can not be had either, the NAR is not missing', async (t) => {
  const [mirror, attic] = [await startUpstream(t), await startUpstream(t)];
  const evicted = makePackage('unsure', { compression: 'xz' });
  mirror.on(evicted.narInfoPath, whole(evicted.narInfo));
  const service = await startTestService(t, { upstreams: [mirror.url, attic.url] });
  const url = field((await get(service.url, evicted.narInfoPath)).text, 'URL');
  attic.otherwise(status(500));
  assert.equal((await get(service.url, `/${url}`)).status, 502);
});

test('88: what nobody understands by its name alone is not missing', async (t) => {
  const attic = await startUpstream(t);
  attic.otherwise(status(500));
  const service = await startTestService(t, { upstreams: [attic.url] });
  assert.equal((await get(service.url, makePackage('old', { compression: 'xz' }).narPath)).status, 502);
});

test('88: another file under that name elsewhere is no file of it, and no unfit one', async (t) => {
  const [mirror, other] = [await startUpstream(t), await startUpstream(t)];
  const one = makePackage('one', { compression: 'xz' });
  mirror.on(one.narInfoPath, whole(one.narInfo));
  mirror.on(one.narPath, status(503));
  other.on(one.narPath, whole('something else'));
  const service = await startTestService(t, { upstreams: [mirror.url, other.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  assert.equal((await get(service.url, `/${url}`)).status, 502);
  mirror.on(one.narPath, whole(one.file));
  const asked = mirror.count(one.narInfoPath);
  const reply = await get(service.url, `/${url}`);
  assert.ok(reply.complete && reply.body.equals(one.file));
  assert.equal(mirror.count(one.narInfoPath), asked, 'its narinfo is not in doubt');
});

test('88: harmonia is not asked for its NAR without the query that it wants', async (t) => {
  const harmonia = await startUpstream(t);
  const { one, narPath } = serveAsHarmonia(harmonia, 'harmonious');
  const service = await startTestService(t, { upstreams: [harmonia.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  harmonia.on(narPath, status(503));
  assert.equal((await get(service.url, `/${url}`)).status, 502);
  const asked = harmonia.requests.filter((request) => request.url.startsWith('/nar/'));
  assert.deepEqual([...new Set(asked.map((request) => request.url))], [narPath]);
});

test('88: an address that ends in .nar never gets what is packed, whoever got it by the address that says so', async (t) => {
  const upstream = await startUpstream(t);
  const { hash, nar } = makePackage('packed-elsewhere', { compression: 'none' });
  const digits = encodeNix32(sha256(nar));
  const packed = gzipSync(nar);
  upstream.on(`/${hash}.narinfo`, status(503));
  upstream.on(`/nar/${digits}.nar`, whole(packed));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const [plain, gzip] = [`/nar/${hash}-${digits}.nar`, `/nar/${hash}-${digits}.nar.gzip`];
  const before = await get(service.url, plain);
  assert.ok(!(before.complete && before.status === 200), 'a client that wants it unpacked got it packed');
  const reply = await get(service.url, gzip);
  assert.ok(reply.complete && reply.body.equals(packed));
  const after = await get(service.url, plain);
  assert.ok(!(after.complete && after.status === 200), 'a client that wants it unpacked got it packed');
  upstream.on(`/nar/${digits}.nar`, status(503));
  const kept = await get(service.url, gzip);
  assert.ok(kept.complete && kept.body.equals(packed), 'it was not kept');
});
