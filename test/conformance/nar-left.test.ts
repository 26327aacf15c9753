// Downloads that nobody reads any more, or that broke off: who has to wait for them, and what becomes of what has come.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, open } from '../fixtures/client.ts';
import { assertServed, startGatedNar } from '../fixtures/gated-nar.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { serveAsAttic, withRanges } from '../fixtures/servers.ts';
import { gated, startUpstream, status, truncatedChunked, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const MIB = 2 ** 20;
const large = ['first', 'second', 'third'].map((name) => makePackage(name, { size: 6 * MIB }));
const small = makePackage('small', { compression: 'xz' });

/** Where it was asked to go on from, each time. */
function startsOf(
  requests: readonly { url: string; headers: { range?: string | undefined } }[],
  path: string,
) {
  const asked = requests.filter(({ url }) => url === path);
  return asked.map(({ headers }) => Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0));
}

test('16: downloads that nobody reads give way to a client that waits for their connections, and go on later', async (t) => {
  const upstream = await startUpstream(t);
  const gates = large.map((one) => {
    const gate = gated(one.file);
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, gate.handler);
    return gate;
  });
  upstream.on(small.narInfoPath, whole(small.narInfo));
  upstream.on(small.narPath, whole(small.file));
  // Half of them are for NARs.
  const upstreams = [upstreamConfig(upstream.url, { maxConnections: 6 })];
  const service = await startTestService(t, { upstreams });
  const urlOf = async (path: string) => `/${field((await get(service.url, path)).text, 'URL')}`;
  const urls = await Promise.all(large.map(({ narInfoPath }) => urlOf(narInfoPath)));
  const clients = urls.map((url) => open(service.url, url));
  for (const gate of gates) gate.release(3 * MIB);
  for (const client of clients) await (await client).atLeast(2 * MIB);
  for (const client of clients) (await client).abort();
  for (const gate of gates) gate.release(4 * MIB);
  await assertServed(service, await urlOf(small.narInfoPath), small.file);
  await service.logged(/nobody reads it, and others wait/);
  for (const one of large) upstream.on(one.narPath, withRanges(one.file));
  for (const gate of gates) gate.release();
  for (const [i, one] of large.entries()) await assertServed(service, urls[i] ?? '', one.file);
  const starts = large.map(({ narPath }) => startsOf(upstream.requests, narPath).at(-1) ?? 0);
  assert.ok(
    starts.some((start) => start >= 2 * MIB),
    `went on from ${starts}`,
  );
});

test('16: what a download has got that broke off is gone on with while the service runs', async (t) => {
  const [one] = large;
  assert.ok(one);
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const opened = open(service.url, path);
  gate.release(3 * MIB);
  const client = await opened;
  await client.atLeast(2 * MIB);
  upstream.on(one.narPath, status(503));
  gate.cut();
  const cut = await client.finish();
  assert.equal(cut.complete, false);
  upstream.on(one.narPath, withRanges(one.file));
  const headers = { range: `bytes=${cut.body.length}-` };
  const reply = await get(service.url, path, { headers });
  assert.equal(reply.status, 206);
  assert.ok(reply.complete && reply.body.equals(one.file.subarray(cut.body.length)));
  const start = startsOf(upstream.requests, one.narPath).at(-1) ?? 0;
  assert.ok(start >= 2 * MIB, `went on from ${start}`);
});

test('16: attic, which tells no hash of the file: what breaks off is gone on with where it can be unpacked', async (t) => {
  const attic = await startUpstream(t);
  const { one, narPath } = serveAsAttic(attic, 'from-attic', { compression: 'br', size: 2 * MIB });
  const service = await startTestService(t, { upstreams: [attic.url] });
  const url = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  attic.on(narPath, (request, response) => {
    attic.on(narPath, whole(one.file));
    truncatedChunked(one.file, MIB)(request, response);
  });
  await assertServed(service, url, one.file);
});

test('16: where the rest is packed otherwise, it is never joined to what had come', async (t) => {
  const attic = await startUpstream(t);
  const { one, narPath } = serveAsAttic(attic, 'repacked', { compression: 'br', size: 2 * MIB });
  const other = Buffer.alloc(one.file.length, 7);
  const service = await startTestService(t, { upstreams: [attic.url] });
  const url = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  let asked = 0;
  attic.on(narPath, (request, response) => {
    asked++;
    if (asked === 1) truncatedChunked(one.file, MIB)(request, response);
    else whole(asked === 2 ? other : one.file)(request, response);
  });
  const reply = await get(service.url, url);
  assert.equal(reply.complete, false, 'it has seen bytes of both');
  await assertServed(service, url, one.file);
  assert.equal(asked, 3, 'it was had once more, in one answer');
});
