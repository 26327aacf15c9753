// Section 8 of docs/protocol.md, 21, 22, 78 and 86: listings, logs, realisations, build traces and debug information from upstreams
// that answer with something else, or pack them in what not every Node knows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { DECODABLE, isDecodable } from '../../lib/bytes/codings.ts';
import { get, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { compress, makePackage } from '../fixtures/nar.ts';
import { startUpstream, status, whole } from '../fixtures/upstream.ts';

const one = makePackage('one');
const FILES: Record<string, [path: string, right: string]> = {
  'a listing': [`/${one.hash}.ls`, JSON.stringify({ version: 1, root: { type: 'regular', size: 3 } })],
  'a log': [`/log/${one.base}.drv`, 'building\n'],
  'a realisation': [
    `/realisations/sha256:${'0a'.repeat(32)}!out.doi`,
    JSON.stringify({ id: `sha256:${'0a'.repeat(32)}!out`, outPath: one.base, signatures: [] }),
  ],
  'a build trace': [
    `/build-trace-v2/${one.base}.drv/out.doi`,
    JSON.stringify({ outPath: one.base, signatures: [] }),
  ],
  'debug info': [`/debuginfo/${'0a'.repeat(20)}.debug`, '{"archive":"../nar/x","member":"lib"}'],
};
const PAGE = '<html><body>Please log in</body></html>';
const WRONG: Record<string, [body: string, headers: Record<string, string>]> = {
  'a page of type Text/HTML': [PAGE, { 'content-type': 'Text/HTML; charset=utf-8' }],
  'a page of type XHTML': [PAGE, { 'content-type': 'application/xhtml+xml' }],
  'a page without a type': [PAGE, {}],
  'a page that begins with its type': [
    ` \n<!DOCTYPE html>${PAGE}`,
    { 'content-type': 'application/octet-stream' },
  ],
  nothing: ['', { 'content-type': 'application/json' }],
};
const NOT_JSON: typeof WRONG = {
  'an error in JSON': ['{"error":"not found"}', { 'content-type': 'application/json' }],
  'a JSON text of another kind': ['["x"]', {}],
  'half of it': ['{"version":1,"root":{"type":"reg', {}],
};

for (const [what, [path, right]] of Object.entries(FILES)) {
  for (const [wrong, [body, headers]] of Object.entries(
    what === 'a log' ? WRONG : { ...WRONG, ...NOT_JSON },
  )) {
    test(`${what} that is ${wrong} is no answer: the next upstream's is, and nothing else is kept`, async (t) => {
      const [first, second] = [await startUpstream(t), await startUpstream(t)];
      first.on(path, whole(body, headers));
      second.on(path, status(404));
      const service = await startTestService(t, { upstreams: [first.url, second.url] });
      assert.equal((await get(service.url, path)).status, 502);
      second.on(path, whole(right));
      assert.equal((await get(service.url, path)).text, right);
      await service.restart();
      assert.equal((await get(service.url, path)).text, right);
      assert.equal(second.count(path), 2);
    });
  }
}

const [LISTING_PATH, LISTING] = FILES['a listing'] as [string, string];
const [LOG_PATH, LOG] = FILES['a log'] as [string, string];

for (const [path, text] of [
  [LISTING_PATH, LISTING],
  [LOG_PATH, LOG],
  [LOG_PATH, 'a long log\n'.repeat(600_000)],
] as const) {
  for (const coding of ['zstd', 'xz'] as const) {
    for (const named of [true, false]) {
      const how = named ? 'with its header' : 'without a header';
      test(`78, 86: ${path.slice(0, 5)}… of ${text.length} bytes in ${coding} ${how} → plain or named, now and once stored`, async (t) => {
        const upstream = await startUpstream(t);
        const packed = compress(Buffer.from(text), coding);
        upstream.on(path, whole(packed, named ? { 'content-encoding': coding } : {}));
        const service = await startTestService(t, { upstreams: [upstream.url] });
        for (let i = 0; i < 3; i++) {
          const reply = await get(service.url, path);
          assert.equal(reply.status, 200, reply.text.slice(0, 200));
          if (isDecodable(coding)) {
            assert.equal(reply.headers['content-encoding'], undefined);
            assert.equal(reply.text, text);
          } else {
            assert.equal(reply.headers['content-encoding'], coding);
            assert.ok(reply.body.equals(packed));
          }
          if (i === 1) await service.restart();
        }
        assert.equal(upstream.count(path), 1);
      });
    }
  }
}

test('what lies here packed, and can be unpacked by now, is plain from then on', async (t) => {
  const service = await startTestService(t);
  // As it was kept when nobody looked: gzip is what every Node knows.
  assert.ok(DECODABLE.includes('gzip'));
  await put(service.url, LOG_PATH, gzipSync(LOG));
  for (let i = 0; i < 2; i++) {
    const reply = await get(service.url, LOG_PATH);
    assert.equal(reply.text, LOG);
    assert.equal(reply.headers['content-encoding'], undefined);
    await service.restart();
  }
});

for (const header of ['none', 'UTF-8', 'aws-chunked', 'Identity', 'aws-chunked, identity']) {
  test(`an upstream that says Content-Encoding: ${header} has not encoded anything`, async (t) => {
    const upstream = await startUpstream(t);
    const headers = { 'content-encoding': header };
    upstream.on(one.narInfoPath, whole(one.narInfo, headers));
    upstream.on(one.narPath, whole(one.file, headers));
    upstream.on(LOG_PATH, whole(LOG, headers));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const { text } = await get(service.url, one.narInfoPath);
    const url = /^URL: (.*)$/m.exec(text)?.[1];
    assert.deepEqual((await get(service.url, `/${url}`)).body, one.file);
    const log = await get(service.url, LOG_PATH);
    assert.equal(log.text, LOG);
    assert.equal(log.headers['content-encoding'], undefined);
  });
}

test('a packed listing by its own name, which is asked for after a 404, is passed on as it is', async (t) => {
  const upstream = await startUpstream(t);
  const path = `/${one.hash}.ls.xz`;
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await get(service.url, path)).status, 404);
  const cold = makePackage('cold');
  const packed = compress(Buffer.from(LISTING), 'xz');
  upstream.on(`/${cold.hash}.ls.xz`, whole(packed));
  for (let i = 0; i < 2; i++) {
    const reply = await get(service.url, `/${cold.hash}.ls.xz`);
    assert.deepEqual(reply.body, packed);
    assert.equal(reply.headers['content-encoding'], undefined);
    await service.restart();
  }
  assert.equal(upstream.count(`/${cold.hash}.ls.xz`), 1);
});

test('22: the log of a derivation with ? in its name is found at a static upstream by every way of asking', async (t) => {
  const upstream = await startUpstream(t);
  const drv = `${makePackage('a-drv').hash}-patch?id=1.drv`;
  const [raw, short] = [`/log/${drv}`, `/log/${drv.replace(/\?.*/, '')}`];
  const encoded = raw.replace('?', '%3F');
  const output = makePackage('output', { fields: { Deriver: drv } });
  upstream.on(output.narInfoPath, whole(output.narInfo));
  for (const stored of [encoded, short]) {
    for (const asked of [raw, encoded, short]) {
      const service = await startTestService(t, { upstreams: [upstream.url] });
      upstream.on(encoded, status(404));
      upstream.on(short, status(404));
      upstream.on(stored, whole(LOG));
      // As clients do, to know the derivation.
      await get(service.url, output.narInfoPath);
      for (const path of [asked, raw, encoded, short]) {
        const reply = await get(service.url, path);
        assert.equal(reply.text, LOG, `${path} of ${stored}`);
      }
    }
  }
});

test('22: a log that was pushed by one way of writing its name is had by every other', async (t) => {
  const drv = `${makePackage('a-drv').hash}-patch?id=1.drv`;
  const ways = [`/log/${drv}`, `/log/${drv.replace('?', '%3F')}`, `/log/${drv.replace(/\?.*/, '')}`];
  for (const pushed of ways) {
    const service = await startTestService(t);
    await put(service.url, pushed, LOG);
    for (const path of ways) assert.equal((await get(service.url, path)).text, LOG, `${path} of ${pushed}`);
  }
});
