// Section 8 of docs/protocol.md, "Upload": narinfos, which must fit their name, their store and their NAR.
//
// Elsewhere: 50 of compressed NARs in push-rules, trusted keys in push-limits.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { get, head, push, put, taken } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { type Compression, field, makePackage, type PackageOptions, readNarInfo } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const KEYS = ['a-1', 'b-1'].map((name, index) => ({ name, seed: Buffer.alloc(32, index) }));
const other = makePackage('other');
const one = makePackage('narinfo');
const ZEROS = `sha256:${'0'.repeat(52)}`;

test('49: PUT of a narinfo whose NAR is absent → 400, nothing visible', async (t) => {
  const service = await startTestService(t);
  const reply = await put(service.url, one.narInfoPath, one.narInfo);
  assert.equal(reply.status, 400);
  assert.equal((await get(service.url, one.narInfoPath)).status, 404);
});

test('49: PUT of a narinfo whose NAR only an upstream has → 400', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await put(service.url, one.narInfoPath, one.narInfo)).status, 400);
});

/** Fields that do not fit the stored NAR, and the compressions for which that can be seen. */
const UNFIT: Record<string, [fields: PackageOptions['fields'], compressions: Compression[]]> = {
  FileHash: [{ FileHash: ZEROS }, ['none', 'xz']],
  FileSize: [{ FileSize: '1' }, ['none', 'xz']],
  NarHash: [{ NarHash: ZEROS }, ['none']],
  NarSize: [{ NarSize: '123456' }, ['none']],
  'Compression: none for xz': [{ Compression: 'none' }, ['xz']],
  'the same hash in hex with a digit wrong': [{ FileHash: `sha256:${'0'.repeat(64)}` }, ['none', 'xz']],
  'NarHash, without FileHash': [{ NarHash: ZEROS, FileHash: undefined, FileSize: undefined }, ['none']],
};
for (const [what, [fields, compressions]] of Object.entries(UNFIT)) {
  for (const compression of compressions) {
    test(`50: ${what} ≠ file (${compression}) → 400 with what was expected, nothing visible`, async (t) => {
      const service = await startTestService(t);
      const unfit = makePackage('unfit', { compression, fields: fields ?? {} });
      await put(service.url, unfit.narPath, unfit.file);
      const reply = await put(service.url, unfit.narInfoPath, unfit.narInfo);
      assert.equal(reply.status, 400);
      assert.ok(reply.text.length > 20 && reply.text.length < 1024, reply.text);
      assert.equal((await get(service.url, unfit.narInfoPath)).status, 404);
      const fit = makePackage('unfit', { compression });
      assert.equal((await put(service.url, fit.narInfoPath, fit.narInfo)).status, 200);
    });
  }
}

/** Texts that may not be stored as the narinfo of `one`. */
const REFUSED: Record<string, string> = {
  '51: StorePath of another hash': one.narInfo.replace(one.storePath, other.storePath),
  '51: another store': one.narInfo.replaceAll('/nix/store', '/gnu/store'),
  '51: StorePath with a slash more': one.narInfo.replace(one.storePath, `${one.storePath}/bin`),
  '51: StorePath without a name': one.narInfo.replace(
    one.storePath,
    one.storePath.slice(0, -one.base.length + 32),
  ),
  '51: a reference that is no base name': one.narInfo.replace(
    /^References: /m,
    'References: ../../etc/passwd',
  ),
  '51: a Sig without a name': `${one.narInfo}Sig: nonsense\n`,
  '51: CRLF': one.narInfo.replaceAll('\n', '\r\n'),
  '51: a blank line': one.narInfo.replace('\nURL', '\n\nURL'),
  '51: no LF at the end': one.narInfo.slice(0, -1),
  '51: no body': '',
  '51: no URL': one.narInfo.replace(/^URL.*\n/m, ''),
  '51: no NarHash': one.narInfo.replace(/^NarHash.*\n/m, ''),
  '51: a NarSize of 0': one.narInfo.replace(/^NarSize.*$/m, 'NarSize: 0'),
  '51: an unknown Compression': one.narInfo.replace(/^Compression.*$/m, 'Compression: rot13'),
  '51: a URL on another host': one.narInfo.replace(/^URL: /m, 'URL: http://127.0.0.1:1/'),
  '51: a URL with dots': one.narInfo.replace(/^URL: /m, 'URL: nar/../../'),
  '51: bytes that are no text': '\0\x01\xff',
};
for (const [what, text] of Object.entries(REFUSED)) {
  assert.notEqual(text, one.narInfo, what);
  test(`${what} → 400, nothing visible`, async (t) => {
    const service = await startTestService(t);
    await put(service.url, one.narPath, one.file);
    const reply = await put(service.url, one.narInfoPath, text);
    assert.equal(reply.status, 400, reply.text);
    assert.equal((await get(service.url, one.narInfoPath)).status, 404);
    assert.equal((await head(service.url, other.narInfoPath)).status, 404);
  });
}

test('52: the same narinfo twice, then by five clients at once → success', async (t) => {
  const service = await startTestService(t);
  await push(service.url, one);
  await push(service.url, one);
  const replies = await Promise.all(
    KEYS.concat(KEYS, KEYS).map(() => put(service.url, one.narInfoPath, one.narInfo)),
  );
  for (const { status } of replies) assert.ok(taken(status));
});

for (const at of ['one after the other', 'at once'] as const) {
  test(`53: same path with new Sigs, ${at} → union of Sigs`, async (t) => {
    const service = await startTestService(t);
    const signed = KEYS.map((key) => makePackage('signed', { keys: [key] }));
    const [first, second] = signed as [typeof one, typeof one];
    await push(service.url, makePackage('signed'));
    const puts = [first, second].map((pack) => () => put(service.url, pack.narInfoPath, pack.narInfo));
    const replies =
      at === 'at once' ? await Promise.all(puts.map((run) => run())) : [await puts[0]?.(), await puts[1]?.()];
    for (const reply of replies) assert.equal(reply?.status, 200);
    await service.restart();
    const expected = [first, second].map((pack) => field(pack.narInfo, 'Sig'));
    const { text } = await get(service.url, first.narInfoPath);
    assert.deepEqual(readNarInfo(text).get('Sig')?.toSorted(), expected.toSorted());
    await put(service.url, first.narInfoPath, first.narInfo);
    const again = await get(service.url, first.narInfoPath);
    assert.equal(readNarInfo(again.text).get('Sig')?.length, 2, 'none is lost, none twice');
  });
}

/** A client signs what it was given: its URL is the one of the service. */
for (const [what, settle, nar] of [
  ['stored with its NAR', true, true],
  ['stored, its NAR never fetched', true, false],
  ['received this moment', false, false],
  ['received this moment with its NAR', false, true],
] as const) {
  test(`53: a Sig for a path of an upstream, ${what} (nix store sign) → union`, async (t) => {
    const upstream = await startUpstream(t);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    for (let i = 0; i < 5; i++) {
      const [a, b] = KEYS.map((key) => makePackage(`fetched-${i}`, { keys: [key] })) as [
        typeof one,
        typeof one,
      ];
      upstream.on(a.narInfoPath, whole(a.narInfo));
      upstream.on(a.narPath, whole(a.file));
      const { text } = await get(service.url, a.narInfoPath);
      if (nar) await get(service.url, `/${field(text, 'URL')}`);
      if (settle) await service.restart();
      const reply = await put(service.url, a.narInfoPath, `${text}Sig: ${field(b.narInfo, 'Sig')}\n`);
      assert.ok(taken(reply.status), `${reply.status} ${reply.text}`);
      const after = await get(service.url, a.narInfoPath);
      const expected = [a, b].map((pack) => field(pack.narInfo, 'Sig'));
      assert.deepEqual(readNarInfo(after.text).get('Sig')?.toSorted(), expected.toSorted());
      assert.ok((await get(service.url, `/${field(after.text, 'URL')}`)).body.equals(a.file));
    }
  });
}

test('54: same path, different NarHash → 200, the first kept, both NARs fetchable', async (t) => {
  const service = await startTestService(t);
  const [first, rebuilt] = [makePackage('racing'), makePackage('racing', { seed: 'rebuilt', keys: KEYS })];
  await push(service.url, first);
  await push(service.url, rebuilt);
  const { text } = await get(service.url, first.narInfoPath);
  assert.equal(field(text, 'NarHash'), field(first.narInfo, 'NarHash'));
  assert.equal(readNarInfo(text).get('Sig'), undefined, 'a Sig of other content is not merged');
  assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(first.file));
});

test('55: same path, other compression → success, both NARs fetchable', async (t) => {
  const service = await startTestService(t);
  const packs = (['none', 'xz', 'br'] as const).map((compression) => makePackage('again', { compression }));
  for (const pack of packs) await push(service.url, pack);
  for (const pack of packs) assert.ok((await get(service.url, pack.narPath)).body.equals(pack.file));
  const { text } = await get(service.url, one.narInfoPath.replace(one.hash, packs[0]?.hash ?? ''));
  const current = packs.find((pack) => field(pack.narInfo, 'Compression') === field(text, 'Compression'));
  assert.ok(current !== undefined);
  assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(current.file));
});

test('55: two store paths that share a NAR → both served', async (t) => {
  const service = await startTestService(t);
  const packs = ['twin-a', 'twin-b'].map((name) => makePackage(name, { seed: 'twins' }));
  for (const pack of packs) await push(service.url, pack);
  for (const pack of packs) {
    const { text } = await get(service.url, pack.narInfoPath);
    assert.equal(field(text, 'StorePath'), pack.storePath);
    assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(pack.file));
  }
});

test('56: PUT of a narinfo, immediate GET on another open connection → 200', async (t) => {
  const service = await startTestService(t);
  const reader = await rawConnect(t, service.url);
  for (let i = 0; i < 20; i++) {
    const pack = makePackage(`immediate-${i}`);
    reader.send(requestText(`GET ${pack.narInfoPath} HTTP/1.1`));
    assert.equal((await reader.reply()).status, 404);
    await push(service.url, pack);
    reader.send(requestText(`GET ${pack.narInfoPath} HTTP/1.1`));
    assert.equal((await reader.reply()).status, 200);
  }
});

test('56: a pushed path stays pushed: no upstream is asked for it', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(makePackage('narinfo', { seed: 'other contents' }).narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  await service.restart();
  const { text } = await get(service.url, one.narInfoPath);
  assert.equal(field(text, 'NarHash'), field(one.narInfo, 'NarHash'));
  assert.equal(upstream.count(), 0);
});

const ENCODERS: Record<string, (text: string) => Buffer> = {
  gzip: gzipSync,
  br: brotliCompressSync,
  'x-gzip': gzipSync,
  deflate: deflateSync,
  identity: Buffer.from,
};
for (const [coding, encode] of Object.entries(ENCODERS)) {
  test(`57: a narinfo with Content-Encoding ${coding} → decoded, GET plain`, async (t) => {
    const service = await startTestService(t);
    await put(service.url, one.narPath, one.file);
    const reply = await put(service.url, one.narInfoPath, encode(one.narInfo), {
      'content-encoding': coding,
    });
    assert.equal(reply.status, 200, reply.text);
    const { text, headers } = await get(service.url, one.narInfoPath);
    assert.equal(headers['content-encoding'], undefined);
    assert.equal(field(text, 'StorePath'), one.storePath);
  });
}
