// What a NAR is called: by the hash of its file, or of what is in it, or by our address. docs/protocol.md, 69 and 84.
import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDecodable } from '../../lib/bytes/codings.ts';
import { assertNotGood, get, head, push, put } from '../fixtures/client.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package, sha256 } from '../fixtures/nar.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const ENDINGS = { br: '.br', gzip: '', xz: '.xz', zstd: '.zst' } as const;
type Coding = keyof typeof ENDINGS;

function byNarHash(one: Package, coding: Coding): string {
  return `/nar/${field(one.narInfo, 'NarHash').slice('sha256:'.length)}.nar${ENDINGS[coding]}`;
}

const made = (coding: Coding) => makePackage(`named ${coding}`, { compression: coding, size: 200_000 });

for (const coding of Object.keys(ENDINGS) as Coding[]) {
  const one = made(coding);
  const named = byNarHash(one, coding);
  const isProvable = isDecodable(coding);

  test(`69: ${coding} by its NarHash alone → whole, ${isProvable ? 'and kept' : 'every time anew'}`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.on(named, whole(one.file));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    for (const times of [1, 2]) {
      const reply = await get(service.url, named);
      assert.equal(reply.status, 200);
      assert.ok(reply.complete && reply.body.equals(one.file));
      assert.equal(upstream.count(named), isProvable ? 1 : times);
      await service.restart();
    }
    assert.equal((await head(service.url, named)).status, 404, 'a push asks for the file of that hash');
    assert.deepEqual((await readdir(service.dir)).includes('quarantine'), false);
  });

  test(`69: ${coding} in a folder of the Go service, by its NarHash → stays and is served`, async (t) => {
    const file = sha256(named).toString('hex');
    const prepare = (dir: string) => writeFile(join(dir, file), one.file);
    const service = await startTestService(t, { prepare });
    for (let i = 0; i < 2; i++) {
      const reply = await get(service.url, named);
      assert.equal(reply.status, 200);
      assert.ok(reply.complete && reply.body.equals(one.file));
    }
    assert.ok((await readdir(service.dir)).includes(file));
  });
}

test('wrong bytes under a name that is a hash are noticed where they can be unpacked', async (t) => {
  const one = made('br');
  const upstream = await startUpstream(t);
  upstream.on(byNarHash(one, 'br'), whole(Buffer.alloc(5000, 7)));
  upstream.on(one.narPath, whole(made('gzip').file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const path of [byNarHash(one, 'br'), one.narPath]) assertNotGood(await get(service.url, path));
});

test('what nobody can judge gives way to what somebody has as its name says', async (t) => {
  const one = made('xz');
  const [odd, right] = [await startUpstream(t), await startUpstream(t)];
  odd.on(one.narPath, whole(Buffer.alloc(one.file.length, 7)));
  right.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [odd.url, right.url] });
  assertNotGood(await get(service.url, one.narPath));
  const reply = await get(service.url, one.narPath);
  assert.ok(reply.complete && reply.body.equals(one.file));
});

test('84: HEAD of a NAR that is not here by the address in our narinfo → 200 with its size, and nothing is fetched', async (t) => {
  const one = makePackage('ahead', { compression: 'xz', size: 100_000 });
  const bare = makePackage('bare', {
    compression: 'br',
    fields: { FileHash: undefined, FileSize: undefined },
  });
  const upstream = await startUpstream(t);
  for (const each of [one, bare]) upstream.on(each.narInfoPath, whole(each.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
  for (const path of [`/${url}`, `${one.narPath}?hash=${one.hash}`, `${one.narPath}%3Fhash=${one.hash}`]) {
    const reply = await head(service.url, path);
    assert.equal(reply.status, 200, path);
    assert.equal(reply.headers['content-length'], String(one.file.length));
    assert.match(reply.headers['content-type'] ?? '', /^application\/x-nix-nar/);
  }
  const other = field((await get(service.url, bare.narInfoPath)).text, 'URL');
  const unsized = await head(service.url, `/${other}`);
  assert.deepEqual([unsized.status, unsized.headers['content-length']], [200, undefined]);
  for (const path of [
    one.narPath,
    `/nar/${one.hash}-${'0'.repeat(52)}.nar.xz`,
    `/nar/${'0'.repeat(32)}-${one.narPath.slice(5)}`,
    `/upload/${url}`,
  ])
    assert.equal((await head(service.url, path)).status, 404, path);
  assert.deepEqual(
    upstream.requests.filter(({ url: seen }) => seen.startsWith('/nar/')),
    [],
  );
});

test('a narinfo that we served and that is sent back with a signature more is understood', async (t) => {
  const one = makePackage('sent-back', { compression: 'xz' });
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const served = await get(service.url, one.narInfoPath);
  const path = `/${field(served.text, 'URL')}`;
  const sig = `Sig: k-9:${Buffer.alloc(64, 9).toString('base64')}`;
  for (const isHere of [false, true]) {
    if (isHere) assert.ok((await get(service.url, path)).body.equals(one.file));
    const reply = await put(service.url, one.narInfoPath, `${served.text}${sig}\n`);
    assert.equal(reply.status, 200, reply.text);
    assert.ok((await get(service.url, one.narInfoPath)).text.includes(sig));
    assert.ok((await get(service.url, path)).body.equals(one.file));
  }
  await push(service.url, one);
  const kept = (await get(service.url, one.narInfoPath)).text;
  assert.ok((await get(service.url, `/${field(kept, 'URL')}`)).body.equals(one.file));
});

test('a packed NAR that an earlier version stored under the name that Nix gives it is a hit', async (t) => {
  const upstream = await startUpstream(t);
  const one = makePackage('former', { compression: 'gzip' });
  const service = await startTestService(t, {
    upstreams: [upstream.url],
    prepare: (dir) => new Holdings(dir).package(one, upstream.url),
  });
  await upstream.down();
  const { text } = await get(service.url, one.narInfoPath);
  const reply = await get(service.url, `/${field(text, 'URL')}`);
  assert.ok(reply.complete && reply.body.equals(one.file), reply.text);
});
