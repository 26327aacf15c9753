// Section 8 of docs/protocol.md, "Metadata": what comes from an upstream, good or bad, and how it is handed on.
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { get, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, type PackageOptions, readNarInfo, sha256 } from '../fixtures/nar.ts';
import { chunked, gated, raw, startUpstream, status, whole } from '../fixtures/upstream.ts';

const KEY = { name: 't-1', seed: Buffer.from([...Array(32).keys()]) };
const PUBLIC = 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';

/** Whether the text has a Sig of the key over the fingerprint that its own lines make. */
function signed(text: string): boolean {
  const paths = field(text, 'References').split(' ').filter(Boolean).sort();
  const full = paths.map((one) => `/nix/store/${one}`).join(',');
  const own = `1;${field(text, 'StorePath')};${field(text, 'NarHash')};${field(text, 'NarSize')};${full}`;
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(PUBLIC, 'base64')]);
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  const signatures = readNarInfo(text).get('Sig') ?? [];
  return signatures.some((one) => {
    const [name, value = ''] = one.split(':');
    return name === KEY.name && verify(null, Buffer.from(own), key, Buffer.from(value, 'base64'));
  });
}

const one = makePackage('bad', { keys: [KEY], references: [makePackage('other').base] });
const other = makePackage('another', { keys: [KEY] });

/** Each is an answer with status 200 that a client would stumble over. */
const BAD: Record<string, string> = {
  'CRLF line ends': one.narInfo.replaceAll('\n', '\r\n'),
  'a blank line at the end': `${one.narInfo}\n`,
  'a blank line in the middle': one.narInfo.replace('\nNarHash', '\n\nNarHash'),
  'no LF at the end': one.narInfo.slice(0, -1),
  'a cut in the middle': one.narInfo.slice(0, 150),
  'no body': '',
  'an HTML page': '<html><body>Please log in</body></html>\n',
  'a Sig without a name': `${one.narInfo}Sig: nonsense\n`,
  'a Sig that is not base 64': `${one.narInfo}Sig: key-1:***\n`,
  'an empty Sig': `${one.narInfo}Sig: \n`,
  'the hash part of another path': other.narInfo,
  'another store': one.narInfo.replaceAll('/nix/store/', '/gnu/store/'),
  'References: without its space': one.narInfo.replace(/^References:.*$/m, 'References:'),
  'no StorePath': one.narInfo.replace(/^StorePath.*\n/m, ''),
  'no URL': one.narInfo.replace(/^URL.*\n/m, ''),
  'an empty URL': one.narInfo.replace(/^URL.*$/m, 'URL: '),
  'no NarHash': one.narInfo.replace(/^NarHash.*\n/m, ''),
  'a NarHash of the wrong length': one.narInfo.replace(/^(NarHash.*).$/m, '$1'),
  'no NarSize': one.narInfo.replace(/^NarSize.*\n/m, ''),
  'a NarSize of 0': one.narInfo.replace(/^NarSize.*$/m, 'NarSize: 0'),
  'two StorePaths': `StorePath: ${other.storePath}\n${one.narInfo}`,
  'two lines of references': `${one.narInfo}References: ${other.base}\n`,
  'a reference with a slash': one.narInfo.replace(/^References: (.*)$/m, 'References: /nix/store/$1'),
  'two CAs': `${one.narInfo}CA: text:sha256:${'0'.repeat(52)}\nCA: text:sha256:${'1'.repeat(52)}\n`,
  'a URL with a space': one.narInfo.replace(/^URL: nar\//m, 'URL: nar/a b'),
};
/** Signed content that must never be taken for the path that was asked. */
const FOREIGN = new Set(['the hash part of another path', 'another store', 'two StorePaths']);

for (const [what, text] of Object.entries(BAD)) {
  assert.notEqual(text, one.narInfo, what);
  test(`10: an upstream narinfo with ${what} → not relayed verbatim`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.on(one.narInfoPath, whole(text));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const reply = await get(service.url, one.narInfoPath);
    if (reply.status === 200 && !FOREIGN.has(what)) {
      // What can be mended may be, if the result is what was signed.
      assert.notEqual(reply.text, text);
      assert.equal(field(reply.text, 'StorePath'), one.storePath);
      assert.ok(signed(reply.text), reply.text);
      for (const sig of readNarInfo(reply.text).get('Sig') ?? [])
        assert.match(sig, /^[^:]+:[A-Za-z0-9+/]+=*$/);
      return;
    }
    // No upstream said that it has no such path, so a client must not remember a miss.
    assert.ok([502, 504].includes(reply.status), `expected 502 or 504, found ${reply.status}`);
  });

  test(`10, 17: an upstream narinfo with ${what}, a good one behind it → 200`, async (t) => {
    const [first, second] = [await startUpstream(t), await startUpstream(t)];
    first.on(one.narInfoPath, whole(text));
    second.on(one.narInfoPath, whole(one.narInfo));
    const service = await startTestService(t, { upstreams: [first.url, second.url] });
    const reply = await get(service.url, one.narInfoPath);
    assert.equal(reply.status, 200, reply.text);
    assert.equal(field(reply.text, 'StorePath'), one.storePath);
    assert.ok(signed(reply.text), reply.text);
  });
}

const COMPLETE: Record<string, [PackageOptions, expected: Record<string, string>]> = {
  '11: FileHash and FileSize absent': [{ fields: { FileHash: undefined, FileSize: undefined } }, {}],
  '12: Compression absent': [
    { compression: 'bzip2', fields: { Compression: undefined } },
    { Compression: 'bzip2' },
  ],
  '12: Compression empty': [{ compression: 'bzip2', fields: { Compression: '' } }, { Compression: 'bzip2' }],
  '3: Deriver': [{ fields: { Deriver: `${other.base}.drv` } }, { Deriver: `${other.base}.drv` }],
};
for (const [what, [options, expected]] of Object.entries(COMPLETE)) {
  test(`${what} → served, with a NAR that can be fetched`, async (t) => {
    const upstream = await startUpstream(t);
    const cold = makePackage('complete', { keys: [KEY], ...options });
    upstream.on(cold.narInfoPath, whole(cold.narInfo));
    upstream.on(cold.narPath, whole(cold.file));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const { status, text } = await get(service.url, cold.narInfoPath);
    assert.equal(status, 200);
    for (const [key, value] of Object.entries(expected)) assert.equal(field(text, key), value);
    const reply = await get(service.url, `/${field(text, 'URL')}`);
    assert.equal(reply.status, 200);
    assert.deepEqual(reply.body, cold.file);
  });
}

/** What an upstream may call its NAR, and the path under which the upstream of `base` is then asked for it. */
const URLS: Record<string, (base: string) => [url: string, asked: string]> = {
  'an absolute URL': (base) => [`${base}/elsewhere/x.nar`, '/elsewhere/x.nar'],
  'a path above': () => ['../x.nar', '/x.nar'],
  'a query': () => ['nar/x.nar?hash=abc', '/prefix/nar/x.nar?hash=abc'],
  'an opaque name': () => ['nar/2c6a2b1e-uuid.nar.zst', '/prefix/nar/2c6a2b1e-uuid.nar.zst'],
  'an absolute path': () => ['/nar/x.nar', '/nar/x.nar'],
  'another folder': () => ['snix-castore/Cg@x:y?narsize=1', '/prefix/snix-castore/Cg@x:y?narsize=1'],
};
for (const [what, form] of Object.entries(URLS)) {
  test(`13, 14: the upstream's URL is ${what} → nar/…, fetchable; its Sig still verifies`, async (t) => {
    const upstream = await startUpstream(t);
    const [url, asked] = form(upstream.url);
    const cold = makePackage('thirteen', { url, keys: [KEY], references: [other.base, one.base] });
    upstream.on(`/prefix${cold.narInfoPath}`, whole(cold.narInfo));
    upstream.on(asked, whole(cold.file));
    const service = await startTestService(t, { upstreams: [`${upstream.url}/prefix`] });
    const { status, text } = await get(service.url, cold.narInfoPath);
    assert.equal(status, 200);
    const rewritten = field(text, 'URL');
    assert.match(rewritten, /^nar\/[0-9a-z]{32}-[0-9a-z]{52}\.nar(\.[0-9a-z]+)?$/);
    assert.ok(signed(text));
    const reply = await get(service.url, `/${rewritten}`);
    assert.equal(reply.status, 200);
    assert.deepEqual(reply.body, cold.file);
    assert.equal(upstream.requests.at(-1)?.url, asked);
  });
}

test('18: two simultaneous GETs of a cold narinfo → one upstream request', async (t) => {
  const upstream = await startUpstream(t);
  const gate = gated(Buffer.from(one.narInfo));
  upstream.on(one.narInfoPath, gate.handler);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const replies = [get(service.url, one.narInfoPath), get(service.url, one.narInfoPath)];
  await upstream.asked(one.narInfoPath);
  gate.release();
  const [first, second] = await Promise.all(replies);
  assert.equal(first?.status, 200);
  assert.deepEqual(second?.body, first?.body);
  assert.equal(upstream.count(one.narInfoPath), 1);
});

test('19: 404, then PUT, then GET → 200 at once', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await get(service.url, other.narInfoPath)).status, 404);
  assert.equal((await put(service.url, other.narPath, other.file)).status, 200);
  assert.equal((await put(service.url, other.narInfoPath, other.narInfo)).status, 200);
  assert.equal((await get(service.url, other.narInfoPath)).status, 200);
});

const LISTING = JSON.stringify({ version: 1, root: { type: 'regular', size: 3 } });
const DRV = `/log/${makePackage('twenty-one').base}.drv`;
const TEXTS: Record<string, [path: string, body: string, type: RegExp]> = {
  'a listing': [one.narInfoPath.replace('narinfo', 'ls'), LISTING, /^application\/json/],
  'a log': [DRV, 'building…\n'.repeat(100), /^text\/plain/],
  'a realisation': [
    `/realisations/sha256:${sha256('x').toString('hex')}!out.doi`,
    '{"id":"x"}',
    /^application\/json/,
  ],
  'a build trace': [`/build-trace-v2/${one.base}.drv/out.doi`, '{"outPath":"x"}', /^application\/json/],
  'debug info': [`/debuginfo/${'0a'.repeat(20)}.debug`, '{"archive":"../nar/x"}', /^application\/json/],
  'a narinfo': [one.narInfoPath, one.narInfo, /^text\/x-nix-narinfo/],
};
const CODINGS: Record<string, (body: string) => Buffer> = { br: brotliCompressSync, gzip: gzipSync };
for (const [what, [path, body, type]] of Object.entries(TEXTS)) {
  for (const [coding, encode] of Object.entries(CODINGS)) {
    test(`21: ${what} from an upstream that encodes it as ${coding} → plain, now and once stored`, async (t) => {
      const upstream = await startUpstream(t);
      upstream.on(path, whole(encode(body), { 'content-encoding': coding }));
      const service = await startTestService(t, { upstreams: [upstream.url] });
      const first = await get(service.url, path);
      await upstream.down();
      const second = await get(service.url, path);
      for (const reply of [first, second]) {
        assert.equal(reply.status, 200);
        assert.equal(reply.headers['content-encoding'], undefined);
        assert.match(reply.headers['content-type'] ?? '', type);
        if (what !== 'a narinfo') assert.equal(reply.text, body);
        else assert.ok(signed(reply.text));
      }
    });
  }
}

test('21: a log from an upstream without a length → whole, and stored', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(DRV, chunked('a line\n'.repeat(1000)));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await get(service.url, DRV)).text, 'a line\n'.repeat(1000));
  await service.restart();
  const stored = await get(service.url, DRV);
  assert.equal(stored.text, 'a line\n'.repeat(1000));
  assert.equal(stored.headers['content-length'], '7000');
  assert.equal(upstream.count(), 1);
});

test('21: a log in a coding that nobody knows → 502, nothing kept', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(DRV, whole('???', { 'content-encoding': 'rot13' }));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await get(service.url, DRV)).status, 502);
  upstream.on(DRV, status(404));
  assert.equal((await get(service.url, DRV)).status, 404);
});

test('a log whose end only the end of the connection tells is passed on, and not kept', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const path of [`/log/${one.base}.drv`, `/log/${other.base}.drv`]) {
    upstream.on(path, raw('HTTP/1.0 200 OK\r\n\r\n', 'the begin'));
    assert.equal((await get(service.url, path)).text, 'the begin');
    await service.restart();
    upstream.on(path, whole('the beginning and the end'));
    assert.equal((await get(service.url, path)).text, 'the beginning and the end');
    await service.restart();
    assert.equal((await get(service.url, path)).text, 'the beginning and the end');
    assert.equal(upstream.count(path), 2);
  }
});
