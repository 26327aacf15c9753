// Section 8 of docs/protocol.md, 35 and 36, and the promises about a NAR on its way: it flows while it is being stored,
// crosses the upstream link once, and nobody's trouble is another's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, open } from '../fixtures/client.ts';
import { assertServed, startGatedNar } from '../fixtures/gated-nar.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { chunked, startUpstream, whole } from '../fixtures/upstream.ts';

const MIB = 2 ** 20;
const one = makePackage('download', { size: 2 * MIB, compression: 'xz' });
/** More than any socket on the way holds, so that a client that does not read is felt. */
const big = makePackage('download-big', { size: 64 * MIB });

test('35: a slow upstream: every part reaches the client before the next one leaves the upstream', async (t) => {
  const { gate, service, path } = await startGatedNar(t, one);
  const opened = open(service.url, path);
  gate.release(1);
  const client = await opened;
  assert.equal(client.headers['content-length'], String(one.file.length));
  // The last piece may be held back until the whole is known to be right.
  for (let sent = MIB / 4; sent < one.file.length - MIB / 4; sent += MIB / 4) {
    gate.release(sent);
    const received = await client.atLeast(sent);
    assert.ok(received.equals(one.file.subarray(0, sent)));
  }
  gate.release();
  const { complete, body } = await client.finish();
  assert.ok(complete && body.equals(one.file));
});

test('35: the first byte of a large NAR reaches the client with the first byte of the upstream', async (t) => {
  const { gate, service, path } = await startGatedNar(t, one);
  const opened = open(service.url, path);
  gate.release(1);
  const received = await (await opened).atLeast(1);
  assert.deepEqual(received, one.file.subarray(0, 1));
  gate.release();
});

for (const clients of [2, 20]) {
  test(`35: ${clients} cold GETs of one NAR → one upstream fetch, all complete`, async (t) => {
    const { upstream, gate, service, path } = await startGatedNar(t, one);
    const early = Array.from({ length: clients / 2 }, () => open(service.url, path));
    await upstream.asked(one.narPath);
    gate.release(MIB);
    const opened = await Promise.all(early);
    await Promise.all(opened.map((client) => client.atLeast(MIB / 2)));
    // The other half comes when part of it is there already, by its plain name as well.
    const late = Array.from({ length: clients / 2 }, () => open(service.url, path));
    const joined = [...opened, ...(await Promise.all(late))];
    await Promise.all(joined.map((client) => client.atLeast(MIB / 2)));
    gate.release();
    for (const { complete, body } of await Promise.all(joined.map((client) => client.finish()))) {
      assert.ok(complete && body.equals(one.file));
    }
    assert.equal(upstream.count(one.narPath), 1);
  });
}

test('35: one NAR by two URLs, with its store hash and without → one upstream fetch', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const first = open(service.url, path);
  await upstream.asked(one.narPath);
  const second = open(service.url, one.narPath);
  gate.release();
  for (const client of [await first, await second]) {
    assert.ok((await client.finish()).body.equals(one.file));
  }
  await upstream.down();
  await assertServed(service, path, one.file);
  await assertServed(service, one.narPath, one.file);
  assert.equal(upstream.count(one.narPath), 1);
});

test('25, 35: a Range that joins a download → its bytes, one upstream fetch', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const first = open(service.url, path);
  await upstream.asked(one.narPath);
  gate.release(MIB);
  await (await first).atLeast(1000);
  const second = open(service.url, path, { headers: { range: 'bytes=1000-' } });
  gate.release();
  const reply = await (await second).finish();
  assert.ok(reply.complete);
  assert.ok(reply.body.equals(one.file.subarray(reply.status === 206 ? 1000 : 0)));
  assert.ok((await (await first).finish()).body.equals(one.file));
  assert.equal(upstream.count(one.narPath), 1);
});

test('36: a client that does not read holds up neither the upstream nor the others', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(big.narPath, whole(big.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const slow = await open(service.url, big.narPath);
  await slow.atLeast(1);
  const fast = await get(service.url, big.narPath);
  assert.ok(fast.complete && fast.body.equals(big.file));
  await upstream.down();
  const rest = await slow.finish();
  assert.ok(rest.complete && rest.body.equals(big.file));
  assert.equal(upstream.count(big.narPath), 1);
});

test('36: a client aborts → other readers unaffected', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const [leaver, stayer] = [open(service.url, path), open(service.url, path)];
  gate.release(MIB);
  await (await leaver).atLeast(1);
  await (await stayer).atLeast(1);
  (await leaver).abort();
  await service.logged(/GET \/nar\//);
  gate.release();
  const { complete, body } = await (await stayer).finish();
  assert.ok(complete && body.equals(one.file));
  assert.equal(upstream.count(one.narPath), 1);
});

test('36: the only client leaves in the middle → the fetch completes and is stored', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const leaver = open(service.url, path);
  gate.release(MIB);
  await (await leaver).atLeast(1);
  (await leaver).abort();
  await service.logged(/GET \/nar\//);
  const joined = open(service.url, path);
  gate.release();
  assert.ok((await (await joined).finish()).body.equals(one.file));
  await upstream.down();
  await assertServed(service, path, one.file);
  assert.equal(upstream.count(one.narPath), 1);
});

test('36: a client that leaves before the first byte → the fetch completes and is stored', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const client = await rawConnect(t, service.url);
  client.send(requestText(`GET ${path} HTTP/1.1`));
  await upstream.asked(one.narPath);
  client.destroy();
  await service.logged(/GET \/nar\//);
  const joined = open(service.url, path);
  gate.release();
  assert.ok((await (await joined).finish()).body.equals(one.file));
  assert.equal(upstream.count(one.narPath), 1);
});

test('35: a large NAR without a length from the upstream → whole, and stored', async (t) => {
  const { upstream, service } = await startGatedNar(t, one);
  const unsized = makePackage('unsized', { size: MIB, fields: { FileHash: undefined, FileSize: undefined } });
  upstream.on(unsized.narInfoPath, whole(unsized.narInfo));
  upstream.on(unsized.narPath, chunked(unsized.file));
  const path = `/${field((await get(service.url, unsized.narInfoPath)).text, 'URL')}`;
  await assertServed(service, path, unsized.file);
  await upstream.down();
  await assertServed(service, path, unsized.file);
});
