// Section 8 of docs/protocol.md, 87: routers and servers that answer 404 for a NAR which they have, for a moment.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, open } from '../fixtures/client.ts';
import { assertServed, startGatedNar } from '../fixtures/gated-nar.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { serveAsHarmonia, withRanges } from '../fixtures/servers.ts';
import { startUpstream, status, whole } from '../fixtures/upstream.ts';

const MIB = 2 ** 20;
const one = makePackage('away', { size: 2 * MIB, compression: 'xz' });

test('87: a router whose upstream is away for a second answers 404 in the middle → no client notices', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const opened = open(service.url, path);
  gate.release(MIB);
  const client = await opened;
  await client.atLeast(MIB / 2);
  upstream.on(one.narPath, status(404));
  upstream.on(one.narInfoPath, status(404));
  const asked = upstream.count(one.narPath);
  gate.cut();
  await upstream.asked(one.narPath, asked + 2);
  upstream.on(one.narPath, whole(one.file));
  const { body, complete } = await client.finish();
  assert.ok(complete && body.equals(one.file));
});

test('87: what broke off is no miss within the next minute, whatever its source says, and its narinfo is kept', async (t) => {
  let passed = 0;
  const now = () => performance.now() + passed;
  const deadlines = { connectMs: 5000, firstByteMs: 5000, stallMs: 5000, returnMs: 1000 };
  const { upstream, gate, service, path } = await startGatedNar(t, one, { deadlines, now });
  const opened = open(service.url, path);
  gate.release(MIB);
  const client = await opened;
  await client.atLeast(MIB / 2);
  upstream.on(one.narPath, status(503));
  gate.cut();
  assert.equal((await client.finish()).complete, false);
  upstream.on(one.narPath, status(404));
  for (const headers of [{}, { range: `bytes=${MIB}-` }])
    assert.equal((await get(service.url, path, { headers })).status, 502);
  const narInfos = upstream.count(one.narInfoPath);
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  assert.equal(upstream.count(one.narInfoPath), narInfos, 'kept');
  passed += 60_000;
  assert.equal((await get(service.url, path)).status, 404, 'it may be gone all the same');
});

test('87: a path deleted at harmonia and put back → its narinfo is asked for again, and its NAR once more', async (t) => {
  const harmonia = await startUpstream(t);
  const { one: path, narPath } = serveAsHarmonia(harmonia, 'put-back');
  const service = await startTestService(t, { upstreams: [harmonia.url] });
  const url = `/${field((await get(service.url, path.narInfoPath)).text, 'URL')}`;
  harmonia.on(narPath, status(404));
  const narInfos = harmonia.count(path.narInfoPath);
  const reply = get(service.url, url);
  await harmonia.asked(path.narInfoPath, narInfos + 1);
  harmonia.on(narPath, withRanges(path.nar));
  const { body, complete, status: code } = await reply;
  assert.ok(code === 200 && complete && body.equals(path.nar), `${code}`);
});

test('87: a NAR that moved is asked for where its narinfo says now', async (t) => {
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  const small = makePackage('moved', { compression: 'xz', url: 'old/place.nar.xz' });
  first.on(small.narInfoPath, whole(small.narInfo));
  const service = await startTestService(t, { upstreams: [first.url, second.url] });
  const url = `/${field((await get(service.url, small.narInfoPath)).text, 'URL')}`;
  first.on(small.narInfoPath, whole(small.narInfo.replace('old/place', 'new/place')));
  first.on('/new/place.nar.xz', whole(small.file));
  await assertServed(service, url, small.file);
});

test('87: a narinfo that can not be asked for again leaves it open whether the NAR is lost', async (t) => {
  const upstream = await startUpstream(t);
  const small = makePackage('open', { compression: 'xz' });
  upstream.on(small.narInfoPath, whole(small.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const url = `/${field((await get(service.url, small.narInfoPath)).text, 'URL')}`;
  upstream.on(small.narInfoPath, status(503));
  assert.equal((await get(service.url, url)).status, 502);
  upstream.on(small.narPath, whole(small.file));
  await assertServed(service, url, small.file);
});

test('87: what counted as lost is asked for again after seconds, its narinfo too', async (t) => {
  let passed = 0;
  const now = () => performance.now() + passed;
  const upstream = await startUpstream(t);
  const small = makePackage('lost-and-found', { compression: 'xz' });
  upstream.on(small.narInfoPath, whole(small.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url], now });
  const url = `/${field((await get(service.url, small.narInfoPath)).text, 'URL')}`;
  assert.equal((await get(service.url, url)).status, 404);
  assert.equal((await get(service.url, small.narInfoPath)).status, 404);
  upstream.on(small.narPath, whole(small.file));
  passed += 10_000;
  assert.equal((await get(service.url, small.narInfoPath)).status, 200);
  await assertServed(service, url, small.file);
});
