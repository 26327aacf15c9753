// Section 8 of docs/protocol.md, 25 to 27 and 83: ranges of NARs, stored and on their way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, open, push } from '../fixtures/client.ts';
import { startGatedNar } from '../fixtures/gated-nar.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const one = makePackage('ranges', { size: 300_000 });
const TOTAL = one.file.length;

/** What a Range asks for: bytes from, up to and excluding; 416; or the whole file. */
const RANGES: Record<string, [number, number] | 416 | 'full'> = {
  'bytes=0-': [0, TOTAL],
  'bytes=1-': [1, TOTAL],
  'bytes=123456-': [123_456, TOTAL],
  [`bytes=${TOTAL - 1}-`]: [TOTAL - 1, TOTAL],
  'bytes=0-0': [0, 1],
  'bytes=100-199': [100, 200],
  'bytes=100-99999999999': [100, TOTAL],
  'Bytes=5-': [5, TOTAL],
  'bytes=-500': [TOTAL - 500, TOTAL],
  'bytes=-99999999': [0, TOTAL],
  [`bytes=${TOTAL}-`]: 416,
  [`bytes=${TOTAL}-${TOTAL + 9}`]: 416,
  'bytes=99999999999999999999-': 416,
  'bytes=-0': 416,
  'bytes=': 'full',
  'bytes=-': 'full',
  'bytes=abc-': 'full',
  'bytes=5-2': 'full',
  'bytes=0x10-': 'full',
  'bytes=+5-': 'full',
  'bytes=1.5-': 'full',
  'bytes 5-': 'full',
  'items=0-1': 'full',
  'bytes=0-1,5-6': 'full',
  'bytes=5-,': 'full',
  'bytes=1-2-3': 'full',
};
const NUMBER = { 416: '26', full: '27' } as const;
for (const [range, expected] of Object.entries(RANGES)) {
  const number = Array.isArray(expected) ? '25' : NUMBER[expected];
  const promise = Array.isArray(expected) ? `206 of ${expected.join(' to ')}` : expected;
  test(`${number}: Range ${range} → ${promise}`, async (t) => {
    const service = await startTestService(t);
    await push(service.url, one);
    const full = await get(service.url, one.narPath);
    const reply = await get(service.url, one.narPath, { headers: { range } });
    if (expected === 416) {
      assert.equal(reply.status, 416);
      assert.equal(reply.headers['content-range'], `bytes */${TOTAL}`);
      return;
    }
    const [start, end] = expected === 'full' ? [0, TOTAL] : expected;
    assert.equal(reply.status, expected === 'full' ? 200 : 206);
    const contentRange = expected === 'full' ? undefined : `bytes ${start}-${end - 1}/${TOTAL}`;
    assert.equal(reply.headers['content-range'], contentRange);
    assert.equal(reply.headers['content-length'], String(end - start));
    assert.equal(reply.headers['accept-ranges'], 'bytes');
    assert.equal(reply.headers.etag, full.headers.etag);
    assert.equal(reply.headers['content-encoding'], undefined);
    assert.ok(reply.body.equals(one.file.subarray(start, end)));
  });
}

test('25: If-Range with another ETag → 200 full; with this one → 206', async (t) => {
  const service = await startTestService(t);
  await push(service.url, one);
  const { headers } = await get(service.url, one.narPath);
  const ask = (ifRange: string) =>
    get(service.url, one.narPath, { headers: { range: 'bytes=7-', 'if-range': ifRange } });
  assert.equal((await ask('"another"')).status, 200);
  if (typeof headers.etag === 'string') assert.equal((await ask(headers.etag)).status, 206);
});

test('25: a Range of a NAR that only an upstream has → 206 of it, or 200 of all', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const reply = await get(service.url, one.narPath, { headers: { range: 'bytes=1000-' } });
  assert.ok(reply.complete);
  const start = reply.status === 206 ? 1000 : 0;
  if (start > 0) assert.equal(reply.headers['content-range'], `bytes 1000-${TOTAL - 1}/${TOTAL}`);
  else assert.equal(reply.status, 200);
  assert.ok(reply.body.equals(one.file.subarray(start)));
});

test('26: a Range behind the end that an upstream only says a download has → 502, which clients try again', async (t) => {
  const short = one.file.subarray(0, 1000);
  const { service, path, gate, upstream } = await startGatedNar(t, { ...one, file: short });
  const first = open(service.url, one.narPath);
  gate.release(10);
  await (await first).atLeast(10);
  const headers = { range: 'bytes=1000-' };
  assert.equal((await get(service.url, path, { headers })).status, 502);
  gate.release();
  assert.equal((await (await first).finish()).complete, false);
  upstream.on(one.narPath, whole(one.file));
  assert.equal((await get(service.url, path, { headers })).status, 404, 'what the first has may be wrong');
  const reply = await get(service.url, path);
  assert.ok(reply.complete && reply.body.equals(one.file));
});

test('83: closed ranges of a cold NAR that end before it does → complete as soon as their bytes are here', async (t) => {
  const { service, path, gate, upstream } = await startGatedNar(t, one);
  const ask = (first: number, last: number) => {
    return open(service.url, path, { headers: { range: `bytes=${first}-${last}` } });
  };
  const parts = await Promise.all([ask(0, 99_999), ask(100_000, 199_999), ask(200_000, TOTAL - 1)]);
  for (const [index, end] of [100_000, 200_000].entries()) {
    gate.release(end);
    const reply = await parts[index]?.finish();
    assert.ok(reply?.complete);
    assert.ok(reply.body.equals(one.file.subarray(end - 100_000, end)));
  }
  gate.release();
  const last = await parts[2]?.finish();
  assert.ok(last?.complete && last.body.equals(one.file.subarray(200_000)));
  assert.equal(upstream.count(one.narPath), 1);
});

test('83: behind another service, which is fetching it → every byte as soon as that one has it', async (t) => {
  const large = makePackage('behind', { size: 12 << 20 });
  const { service: inner, gate } = await startGatedNar(t, large);
  const outer = await startTestService(t, { upstreams: [inner.url] });
  const path = `/${field((await get(outer.url, large.narInfoPath)).text, 'URL')}`;
  const opened = open(outer.url, path);
  gate.release(1);
  const client = await opened;
  for (let sent = 1 << 18; sent < large.file.length - (1 << 18); sent += 1 << 18) {
    gate.release(sent);
    const received = await client.atLeast(sent);
    assert.ok(received.equals(large.file.subarray(0, sent)));
  }
  gate.release();
  const { complete, body } = await client.finish();
  assert.ok(complete && body.equals(large.file));
});
