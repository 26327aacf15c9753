// The folder, from outside: the format of its files, the flat folder of the Go service, what a crash may
// leave, and files that are not what they were. Checklist numbers where docs/protocol.md has one (29, 31, 33, 46).
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFile, readdir, readFile, rename, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertNotGood, get, head, push, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { type Compression, field, makePackage, type Package } from '../fixtures/nar.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const one = makePackage('stored', { size: 100_000, compression: 'xz' });
const LOG = `/log/${one.base}.drv`;

function hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The paths of all files, relative to the folder. */
async function files(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const found = entries.filter((entry) => entry.isFile());
  return found.map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1)).sort();
}

interface Stored {
  readonly file: string;
  readonly header: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

async function objects(dir: string): Promise<Stored[]> {
  const all = (await files(dir)).map(async (file) => {
    const bytes = await readFile(join(dir, file));
    const end = bytes.indexOf('\n');
    return { file, header: JSON.parse(bytes.toString('utf8', 0, end)), body: bytes.subarray(end + 1) };
  });
  return await Promise.all(all);
}

test('29: an object is one file, <2 digits>/<sha256 of its path>: a line of JSON, then the body as it is', async (t) => {
  const upstream = await startUpstream(t);
  const cold = makePackage('stored-cold', { size: 5000 });
  upstream.on(cold.narInfoPath, whole(cold.narInfo));
  upstream.on(cold.narPath, whole(cold.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await push(service.url, one);
  await put(service.url, LOG, 'text');
  const { text } = await get(service.url, cold.narInfoPath);
  await get(service.url, `/${field(text, 'URL')}`);
  await service.stop();

  const stored = await objects(service.dir);
  assert.equal(stored.length, 5);
  const expected: [body: Buffer, origin: string][] = [
    [one.file, 'push'],
    [Buffer.from(one.narInfo), 'push'],
    [Buffer.from('text'), 'push'],
    [Buffer.from(cold.narInfo), upstream.url],
    [cold.file, upstream.url],
  ];
  for (const { file, header, body } of stored) {
    const path = String(header.path);
    assert.equal(file, `${hex(path).slice(0, 2)}/${hex(path)}`, path);
    const [, origin] = expected.find(([one]) => one.equals(body)) ?? [];
    assert.ok(origin !== undefined, `${path}: the body as it was received`);
    assert.ok(String(header.origin).startsWith(origin), `${path}: origin ${header.origin}`);
    assert.equal(header.size, body.length);
    assert.ok(
      JSON.stringify(header).includes(hex(body)),
      `${path}: SHA-256 of the body in ${JSON.stringify(header)}`,
    );
  }
  const paths = stored.map(({ header }) => String(header.path).split('?')[0]).sort();
  assert.deepEqual(paths, [one.narPath, one.narInfoPath, LOG, cold.narPath, cold.narInfoPath].sort());
  const nar = stored.find(({ body }) => body.equals(cold.file));
  assert.ok(
    Object.values(nar?.header ?? {}).includes(field(cold.narInfo, 'NarHash')),
    'the NarHash of a NAR',
  );
});

test('46: temporary files that a crash left are removed at the start, objects stay', async (t) => {
  const service = await startTestService(t);
  await push(service.url, one);
  const before = await files(service.dir);
  const client = await rawConnect(t, service.url);
  const other = makePackage('half', { size: 200_000 });
  const headers = { 'Content-Length': String(other.file.length), Expect: '100-continue' };
  client.send(requestText(`PUT ${other.narPath} HTTP/1.1`, headers));
  assert.equal((await client.reply()).status, 100);
  client.send(other.file.subarray(0, 150_000));
  // An upload that comes to its end behind it shows that the first one has begun.
  await put(service.url, LOG, 'text');
  const during = (await files(service.dir)).filter(
    (file) => !before.includes(file) && !file.includes(hex(LOG)),
  );
  assert.equal(during.length, 1, `expected one temporary file, found ${during}`);
  const file = join(service.dir, during[0] ?? '');
  await copyFile(file, `${service.dir}-saved`);
  client.destroy();
  await service.stop();
  assert.equal((await files(service.dir)).length, before.length + 1, 'a stop leaves none');
  await rename(`${service.dir}-saved`, file);
  await service.restart();
  assert.deepEqual(
    (await files(service.dir)).filter((name) => !name.includes(hex(LOG))),
    before,
  );
  assert.deepEqual((await get(service.url, one.narPath)).body, one.file);
});

/** Puts files as the Go service does: in the folder itself, named by the hash of the path, without a header. */
function flat(one: Package, parts: Partial<Record<string, Uint8Array | string>> = {}) {
  return async (dir: string): Promise<void> => {
    const contents = { [one.narInfoPath]: one.narInfo, [one.narPath]: one.file, ...parts };
    for (const [path, body] of Object.entries(contents)) {
      if (body !== undefined) await writeFile(join(dir, hex(path)), body);
    }
  };
}

for (const compression of ['none', 'xz', 'br'] satisfies Compression[]) {
  test(`29: the Go service's flat folder (${compression}) is served as it stands, without any upstream`, async (t) => {
    const old = makePackage('flat', { size: 10_000, compression });
    const upstream = await startUpstream(t);
    await upstream.down();
    const service = await startTestService(t, { prepare: flat(old), upstreams: [upstream.url] });
    const before = await files(service.dir);
    assert.ok((await get(service.url, old.narPath)).body.equals(old.file), 'the NAR before its narinfo');
    const { text, status } = await get(service.url, old.narInfoPath);
    assert.equal(status, 200);
    for (const name of ['StorePath', 'NarHash', 'Compression'])
      assert.equal(field(text, name), field(old.narInfo, name));
    const reply = await get(service.url, `/${field(text, 'URL')}`);
    assert.equal(reply.headers['content-length'], String(old.file.length));
    assert.ok(reply.body.equals(old.file));
    const part = await get(service.url, old.narPath, { headers: { range: 'bytes=100-' } });
    assert.equal(part.status, 206);
    assert.ok(part.body.equals(old.file.subarray(100)));
    assert.equal((await head(service.url, old.narPath)).status, 200);
    assert.equal((await head(service.url, old.narInfoPath)).status, 200);
    for (const file of before) await stat(join(service.dir, file));
  });
}

test('29: new objects beside flat ones, a narinfo pushed for a flat NAR', async (t) => {
  const service = await startTestService(t, { prepare: flat(one, { [one.narInfoPath]: undefined }) });
  assert.equal((await put(service.url, one.narInfoPath, one.narInfo)).status, 200);
  const other = makePackage('beside');
  await push(service.url, other);
  await service.restart();
  for (const { narPath, file } of [one, other])
    assert.deepEqual((await get(service.url, narPath)).body, file);
});

const NO_NARINFOS: Record<string, string> = {
  'a page': '<html>502 Bad Gateway</html>',
  nothing: '',
  'a narinfo cut short': one.narInfo.slice(0, 120),
  'the narinfo of another path': makePackage('other').narInfo,
};
for (const [what, body] of Object.entries(NO_NARINFOS)) {
  test(`33: a flat narinfo that holds ${what} is not served; an upstream's takes its place`, async (t) => {
    const upstream = await startUpstream(t);
    const prepare = flat(one, { [one.narInfoPath]: body });
    const service = await startTestService(t, { prepare, upstreams: [upstream.url] });
    const { status } = await get(service.url, one.narInfoPath);
    assert.ok([404, 502].includes(status), `found ${status}`);
    upstream.on(one.narInfoPath, whole(one.narInfo));
    assert.equal(field((await get(service.url, one.narInfoPath)).text, 'StorePath'), one.storePath);
  });
}

for (const [what, body] of Object.entries({
  'cut in the middle': one.file.subarray(0, 50_000),
  'cut by a byte': one.file.subarray(0, -1),
  empty: Buffer.alloc(0),
})) {
  for (const asked of ['by its plain name', 'with its store hash']) {
    test(`31: a flat NAR that is ${what}, asked ${asked} → not served as good; fetched anew`, async (t) => {
      const upstream = await startUpstream(t);
      const prepare = flat(one, { [one.narPath]: body });
      const service = await startTestService(t, { prepare, upstreams: [upstream.url] });
      const { text } = await get(service.url, one.narInfoPath);
      const path = asked === 'by its plain name' ? one.narPath : `/${field(text, 'URL')}`;
      assertNotGood(await get(service.url, path));
      assert.equal((await head(service.url, one.narPath)).status, 404);
      upstream.on(one.narPath, whole(one.file));
      const reply = await get(service.url, path);
      assert.equal(reply.status, 200);
      assert.ok(reply.body.equals(one.file));
    });
  }
}

for (const [what, size] of Object.entries({
  'by a byte': -1,
  'to half': -50_000,
  'to its first bytes': 20,
  'to nothing': 0,
})) {
  test(`31: an object cut ${what} on disk is not served as good; fetched anew`, async (t) => {
    const upstream = await startUpstream(t);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    await push(service.url, one);
    await service.stop();
    const file = join(service.dir, hex(one.narPath).slice(0, 2), hex(one.narPath));
    await truncate(file, size > 0 || size === 0 ? size : (await stat(file)).size + size);
    await service.restart();
    assertNotGood(await get(service.url, one.narPath));
    assert.equal((await head(service.url, one.narPath)).status, 404);
    upstream.on(one.narPath, whole(one.file));
    assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
  });
}

test('29: a use touches the mtime of a file last used long ago', async (t) => {
  const service = await startTestService(t);
  await push(service.url, one);
  await service.stop();
  const long = new Date('2020-01-01');
  for (const file of await files(service.dir)) await utimes(join(service.dir, file), long, long);
  await service.restart();
  await get(service.url, one.narPath);
  await service.stop();
  const { mtime } = await stat(join(service.dir, hex(one.narPath).slice(0, 2), hex(one.narPath)));
  assert.ok(mtime.getFullYear() > 2020);
});
