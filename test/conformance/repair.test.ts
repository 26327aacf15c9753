// A mirror that keeps narinfos longer than NARs: what can't be had any more is an honest miss.
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { fileOf } from '../fixtures/aged.ts';
import { assertNotGood, get, head, push, put } from '../fixtures/client.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { startUpstream, status, whole } from '../fixtures/upstream.ts';

const one = makePackage('lost');

test('a narinfo whose NAR every upstream has lost is dropped, and not taken again for a while', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  assert.equal((await get(service.url, `/${url}`)).status, 404);
  assert.equal((await get(service.url, one.narInfoPath)).status, 404);
  upstream.on(one.narPath, whole(one.file));
  assert.equal((await get(service.url, `/${url}`)).status, 200, 'the NAR itself is asked for all the same');
  // Its last byte goes out before it is in the store.
  await until(async () => (await head(service.url, `/${url}`)).status === 200, 'the NAR to be stored');
  assert.equal((await get(service.url, one.narInfoPath)).status, 200, 'and once it is here, it is not lost');
});

test('so is one of an upstream that is no longer configured, and of the Go service', async (t) => {
  const upstream = await startUpstream(t);
  const old = makePackage('old');
  const service = await startTestService(t, {
    upstreams: [upstream.url],
    prepare: async (dir) => {
      const holdings = new Holdings(dir);
      await holdings.narInfo(one, 'http://gone.invalid');
      await holdings.flat(old.narInfoPath, old.narInfo);
    },
  });
  for (const { narInfoPath } of [one, old]) {
    const url = field((await get(service.url, narInfoPath)).text, 'URL');
    assert.equal((await get(service.url, `/${url}`)).status, 404);
    assert.equal((await get(service.url, narInfoPath)).status, 404, narInfoPath);
  }
});

test('an upstream that does not understand the name another has for a NAR has not got it', async (t) => {
  const [upstream, other] = [await startUpstream(t), await startUpstream(t)];
  upstream.on(one.narInfoPath, whole(one.narInfo));
  other.on(one.narPath, status(400));
  const service = await startTestService(t, { upstreams: [upstream.url, other.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  assert.equal((await get(service.url, `/${url}`)).status, 404);
  assert.equal((await get(service.url, one.narInfoPath)).status, 404);
});

for (const [what, size] of [
  ['hash', 1000],
  ['size', 2000],
] as const) {
  test(`a narinfo whose ${what} fits no NAR that could be had is asked for anew`, async (t) => {
    const upstream = await startUpstream(t);
    const former = makePackage('rebuilt', { url: 'nar/x.nar', seed: 'former' });
    const rebuilt = makePackage('rebuilt', { url: 'nar/x.nar', seed: 'rebuilt', size });
    upstream.on(former.narInfoPath, whole(former.narInfo));
    upstream.on('/nar/x.nar', whole(rebuilt.file));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const urlNow = async () => `/${field((await get(service.url, former.narInfoPath)).text, 'URL')}`;
    assertNotGood(await get(service.url, await urlNow()));
    upstream.on(former.narInfoPath, whole(rebuilt.narInfo));
    const reply = await get(service.url, await urlNow());
    assert.ok(reply.complete && reply.body.equals(rebuilt.file), reply.text.slice(0, 200));
    assert.equal(upstream.count(former.narInfoPath), 2);
  });
}

test('but not one that was pushed', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  await rm(fileOf(service.dir, one.narPath));
  upstream.on(one.narPath, whole(makePackage('other').file));
  assertNotGood(await get(service.url, `${one.narPath}?hash=${one.hash}`));
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
});

test('an outage drops nothing', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  upstream.on(one.narPath, status(500));
  assert.equal((await get(service.url, `/${url}`)).status, 502);
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
});

test('that others lack what a dead upstream has named proves nothing', async (t) => {
  const [upstream, other] = [await startUpstream(t), await startUpstream(t)];
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url, other.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  await upstream.down();
  for (const name of ['a', 'b', 'c']) await get(service.url, makePackage(name).narInfoPath);
  await service.logged(/believed dead and passed over/);
  assert.equal((await get(service.url, `/${url}`)).status, 502);
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
});

test('what was pushed is never dropped, and a push makes up for what was', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  assert.equal((await get(service.url, `/${url}`)).status, 404);
  assert.equal((await put(service.url, one.narPath, one.file)).status, 200);
  assert.equal((await put(service.url, one.narInfoPath, one.narInfo)).status, 200);
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  assert.ok((await get(service.url, `/${url}`)).body.equals(one.file));
});
