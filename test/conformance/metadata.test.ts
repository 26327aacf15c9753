// Section 8 of docs/protocol.md, "Metadata": what the service answers about itself and about paths it holds.
//
// Not here, because they belong to later work:
//   9, 16  the configuration that turns a failed upstream into a miss: only the default is tested
//   15     signing with a key of the service's own
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, head, push, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { type Compression, field, makePackage, readNarInfo, sha256, sign } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

test('fixture: signatures follow the vector of section 2', () => {
  const key = { name: 't-1', seed: Buffer.from([...Array(32).keys()]) };
  const self = '/nix/store/00000000000000000000000000000000-a';
  const hash = 'sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73';
  assert.equal(
    sign(`1;${self};${hash};1;${self},/nix/store/11111111111111111111111111111111-b`, key),
    't-1:IdwbU46zYtBueUmRF7WNrNC53PSVP48iCezLAieFY7cIi9L5y2B+t04dQzniEIHwYsAo0xObgTv7mNQuFaKrDw==',
  );
});

test('1: GET /nix-cache-info → 200, StoreDir, WantMassQuery, integer Priority, final LF', async (t) => {
  const upstream = await startUpstream(t);
  await upstream.down();
  const service = await startTestService(t, {
    upstreams: [upstream.url],
    storeDir: '/home/x/store',
    priority: 7,
  });
  const reply = await get(service.url, '/nix-cache-info');
  assert.equal(reply.status, 200);
  assert.match(reply.headers['content-type'] ?? '', /^text\/x-nix-cache-info/);
  assert.equal(reply.headers['content-length'], String(reply.body.length));
  assert.equal(reply.text, 'StoreDir: /home/x/store\nWantMassQuery: 1\nPriority: 7\n');
});

test('2: PUT /nix-cache-info with the same StoreDir → 200, nothing changed', async (t) => {
  const service = await startTestService(t);
  const before = await get(service.url, '/nix-cache-info');
  const reply = await put(
    service.url,
    '/nix-cache-info',
    'StoreDir: /nix/store\nPriority: 1\nWantMassQuery: 0\n',
  );
  assert.ok([200, 201, 204].includes(reply.status), `found ${reply.status}`);
  await service.restart();
  assert.equal((await get(service.url, '/nix-cache-info')).text, before.text);
});

test('2: PUT /nix-cache-info with another StoreDir → 400, nothing changed', async (t) => {
  const service = await startTestService(t);
  assert.equal((await put(service.url, '/nix-cache-info', 'StoreDir: /gnu/store\n')).status, 400);
  assert.match((await get(service.url, '/nix-cache-info')).text, /^StoreDir: \/nix\/store$/m);
});

test('3: GET of a stored narinfo → 200, Content-Length, LF, no blank line', async (t) => {
  const service = await startTestService(t);
  const one = makePackage('three', { references: [makePackage('other').base, makePackage('three').base] });
  await push(service.url, one);
  const reply = await get(service.url, one.narInfoPath);
  assert.equal(reply.status, 200);
  assert.match(reply.headers['content-type'] ?? '', /^text\/x-nix-narinfo/);
  assert.equal(reply.headers['content-length'], String(reply.body.length));
  const fields = readNarInfo(reply.text);
  for (const [name, values] of readNarInfo(one.narInfo)) {
    if (name !== 'URL') assert.deepEqual(fields.get(name), values, name);
  }
  assert.match(field(reply.text, 'URL'), /^nar\/[0-9a-z]{52}\.nar$/);
});

test('4: a path without references → "References: " with its space, or no line', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const pushed = makePackage('four-pushed', { references: [] });
  const absent = makePackage('four-absent', { fields: { References: undefined } });
  const empty = makePackage('four-empty');
  await push(service.url, pushed);
  for (const one of [absent, empty]) upstream.on(one.narInfoPath, whole(one.narInfo));
  for (const one of [pushed, absent, empty]) {
    const { status, text } = await get(service.url, one.narInfoPath);
    assert.equal(status, 200);
    const references = readNarInfo(text).get('References') ?? [''];
    assert.deepEqual(references, [''], text);
  }
});

test('5: GET of a narinfo unknown everywhere → 404, short text body', async (t) => {
  const upstreams = [await startUpstream(t), await startUpstream(t)];
  const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url) });
  const { narInfoPath } = makePackage('five');
  const reply = await get(service.url, narInfoPath);
  assert.equal(reply.status, 404);
  assert.match(reply.headers['content-type'] ?? '', /^text\/plain/);
  assert.ok(reply.body.length > 0 && reply.body.length < 1024);
  assert.deepEqual(
    upstreams.map((one) => one.count(narInfoPath)),
    [1, 1],
  );
});

test('6: HEAD of a narinfo → status and headers of GET, no body', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const pushed = makePackage('six-pushed');
  const cold = makePackage('six-cold');
  await push(service.url, pushed);
  upstream.on(cold.narInfoPath, whole(cold.narInfo));
  for (const path of [
    pushed.narInfoPath,
    cold.narInfoPath,
    makePackage('six-unknown').narInfoPath,
    '/nix-cache-info',
  ]) {
    const first = await head(service.url, path);
    const full = await get(service.url, path);
    assert.equal(first.status, full.status, path);
    assert.equal(first.body.length, 0);
    for (const name of ['content-length', 'content-type', 'etag', 'accept-ranges', 'vary', 'cache-control']) {
      assert.equal(first.headers[name], full.headers[name], `${path} ${name}`);
    }
  }
});

const GOOD = makePackage('seven').hash;
const BAD_HASHES: Record<string, string> = {
  '31 digits': GOOD.slice(1),
  '33 digits': `${GOOD}0`,
  'an e': `e${GOOD.slice(1)}`,
  'an o': `${GOOD.slice(1)}o`,
  'a u': `${GOOD.slice(0, 16)}u${GOOD.slice(17)}`,
  'a t': `t${GOOD.slice(1)}`,
  'an upper-case digit': `A${GOOD.slice(1)}`,
  nothing: '',
};
for (const [what, hash] of Object.entries(BAD_HASHES)) {
  test(`7: a hash with ${what} → 404, no upstream request`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.otherwise(whole(makePackage('seven').narInfo));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    assert.equal((await get(service.url, `/${hash}.narinfo`)).status, 404);
    assert.equal((await head(service.url, `/${hash}.narinfo`)).status, 404);
    assert.equal(upstream.count(), 0);
  });
}

const FORMS: Record<string, (path: string) => string> = {
  'two slashes': (path) => `/${path}`,
  'five slashes': (path) => `////${path}`,
  'the absolute form of a URL': (path) => `http://cache.test${path}`,
  'a prefix': (path) => `/some/prefix${path}`,
  'a client setting as its query': (path) => `${path}?compression=zstd`,
};
for (const [what, form] of Object.entries(FORMS)) {
  test(`20: ${what} → as the canonical path`, async (t) => {
    const upstream = await startUpstream(t);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const pushed = makePackage('twenty');
    const cold = makePackage('twenty-cold');
    await push(service.url, pushed);
    upstream.on(cold.narInfoPath, whole(cold.narInfo));
    upstream.on(cold.narPath, whole(cold.file));
    const client = await rawConnect(t, service.url);
    for (const path of [
      '/nix-cache-info',
      pushed.narInfoPath,
      pushed.narPath,
      cold.narInfoPath,
      cold.narPath,
    ]) {
      client.send(requestText(`GET ${form(path)} HTTP/1.1`));
      const reply = await client.reply();
      assert.equal(reply.status, 200, path);
      assert.deepEqual(reply.body, (await get(service.url, path)).body, path);
    }
  });
}

test('20: slashes within a path → as the canonical path', async (t) => {
  const service = await startTestService(t);
  const one = makePackage('twenty-within');
  await push(service.url, one);
  const reply = await get(service.url, one.narPath.replace('/nar/', '//nar//'));
  assert.deepEqual(reply.body, one.file);
});

const LOG = `/log/${makePackage('a+b=c_d.e?f').base}.drv`;
const FROM_ABOVE = '{"id":"x","outPath":"y"}';
const DOI = `/realisations/sha256:${sha256('x').toString('hex')}!out.doi`;
const ENCODED: Record<string, [raw: string, encoded: string]> = {
  '%21 and %3A': [DOI, DOI.replace('!', '%21').replace(':', '%3A')],
  '%2B, %3D, %3F': [
    LOG.replace('?', '%3F'),
    LOG.replace('+', '%2B').replace('=', '%3D').replace('?', '%3F').replace('_', '%5f'),
  ],
  'a raw ? in a name': [LOG, LOG.replace('?', '%3F')],
};
for (const [what, forms] of Object.entries(ENCODED)) {
  for (const [pushed, asked] of [forms, forms.toReversed() as [string, string]]) {
    test(`22: ${what}: PUT ${pushed.slice(-24)}, GET ${asked.slice(-24)} → the same`, async (t) => {
      const service = await startTestService(t);
      assert.equal(Math.floor((await put(service.url, pushed, 'some text\n')).status / 100), 2);
      const reply = await get(service.url, asked);
      assert.equal(reply.status, 200);
      assert.equal(reply.text, 'some text\n');
    });
  }
}

for (const [what, [raw, encoded]] of Object.entries(ENCODED)) {
  test(`22: ${what}: both forms are one object of an upstream`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.otherwise((request, response) => {
      const known = decodeURIComponent(request.url ?? '') === decodeURIComponent(encoded);
      whole(known ? FROM_ABOVE : 'wrong')(request, response);
    });
    const service = await startTestService(t, { upstreams: [upstream.url] });
    for (const path of [raw, encoded]) assert.equal((await get(service.url, path)).text, FROM_ABOVE, path);
    assert.equal(upstream.count(), 1);
  });
}

for (const compression of ['none', 'gzip', 'br', 'xz', 'bzip2'] satisfies Compression[]) {
  test(`3, 23: a pushed package with compression ${compression} comes back as it was`, async (t) => {
    const service = await startTestService(t);
    const one = makePackage(`pushed-${compression}`, { compression });
    await push(service.url, one);
    const text = (await get(service.url, one.narInfoPath)).text;
    assert.equal(field(text, 'Compression'), compression);
    assert.deepEqual((await get(service.url, `/${field(text, 'URL')}`)).body, one.file);
  });
}
