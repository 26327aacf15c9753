// What may be pushed: narinfos that fit their NARs, in every compression that can be unpacked here. Section 8 of
// docs/protocol.md, 50, 54, 55, 63.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { isDecodable } from '../../lib/bytes/codings.ts';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { get, push, put } from '../fixtures/client.ts';
import { evict } from '../fixtures/forgetting.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import {
  type Compression,
  compress,
  field,
  makePackage,
  type Package,
  sha256,
  sign,
} from '../fixtures/nar.ts';
import { openedSince, openThings } from '../fixtures/open-things.ts';
import { storedFiles } from '../fixtures/stored-files.ts';

/** What this Node can unpack; before 22.15 that is not zstd. */
const UNPACKED = (['none', 'gzip', 'br', 'zstd'] as const).filter(
  (compression) => compression === 'none' || isDecodable(compression),
);
const ZEROS = `sha256:${'0'.repeat(52)}`;

/** The package with another file in place of its own, under the name of that, and with that told rightly. */
function withFile(one: Package, file: Buffer, fields: Readonly<Record<string, string>> = {}): Package {
  const hash = encodeNix32(sha256(file));
  const narPath = one.narPath.replace(/\w{52}/, hash);
  const told = {
    URL: narPath.slice(1),
    FileHash: `sha256:${hash}`,
    FileSize: String(file.length),
    ...fields,
  };
  const narInfo = Object.entries(told).reduce(
    (text, [key, value]) => text.replace(new RegExp(`^${key}: .*$`, 'm'), `${key}: ${value}`),
    one.narInfo,
  );
  return { ...one, file, narPath, narInfo };
}

/** Pushes what must be refused; the sentence in which it was. */
async function refused(service: TestService, one: Package): Promise<string> {
  assert.equal((await put(service.url, one.narPath, one.file)).status, 200);
  const { status, text } = await put(service.url, one.narInfoPath, one.narInfo);
  assert.equal(status, 400, text);
  assert.match(text, /^Bad Request: [^\n<]{20,800}\n$/);
  assert.equal((await get(service.url, one.narInfoPath)).status, 404);
  const stored = await storedFiles(service.dir, true);
  assert.ok(!stored.has(one.narInfoPath), 'nothing of it is in the store');
  return text;
}

for (const compression of UNPACKED) {
  const good = makePackage('fits', { compression, size: 300_000 });
  const size = good.nar.length;
  const wrong: Record<string, string> = {
    FileHash: ZEROS,
    FileSize: String(good.file.length + 1),
    NarHash: ZEROS,
    NarSize: String(size + 1),
  };
  for (const [name, value] of Object.entries(wrong)) {
    test(`50: ${name} ≠ file (${compression}) → 400 with what was expected and what was found`, async (t) => {
      const service = await startTestService(t);
      const text = await refused(service, withFile(good, good.file, { [name]: value }));
      assert.match(text, new RegExp(name));
      const said = field(good.narInfo, name).replace('sha256:', '');
      const hex = sha256(good.file).toString('hex');
      assert.ok(text.includes(said) || text.includes(hex), `${text} does not say that it is ${said}`);
      await push(service.url, good);
      assert.ok((await get(service.url, good.narPath)).body.equals(good.file));
    });
  }

  test(`50: a NarSize that is too small (${compression}) → 400`, async (t) => {
    const service = await startTestService(t);
    for (const told of [1, size - 1]) {
      const text = await refused(service, withFile(good, good.file, { NarSize: String(told) }));
      assert.match(text, new RegExp(`NarSize .*${told}`));
    }
  });
}

for (const compression of UNPACKED.filter((one) => one !== 'none')) {
  const good = makePackage('packed', { compression, size: 300_000 });
  const { file } = good;
  const broken: Record<string, Buffer> = {
    'a plain NAR': good.nar,
    'another compression': compression === 'gzip' ? brotliCompressSync(good.nar) : gzipSync(good.nar),
    noise: Buffer.concat([randomBytes(100_000)]),
    'nothing at all': Buffer.alloc(0),
    'one byte': file.subarray(0, 1),
    'a stream without its last byte': file.subarray(0, -1),
    'half a stream': file.subarray(0, file.length >> 1),
    'a stream with a byte behind it': Buffer.concat([file, Buffer.alloc(1)]),
    'a stream with a line end behind it': Buffer.concat([file, Buffer.from('\n')]),
    'a stream with much behind it': Buffer.concat([file, randomBytes(1_000_000)]),
    'a stream of more than the NAR': compress(Buffer.concat([good.nar, Buffer.alloc(8)]), compression),
    'a stream of less than the NAR': compress(good.nar.subarray(0, -8), compression),
    'a stream of as much, but something else': compress(Buffer.alloc(good.nar.length), compression),
  };
  test(`50: a file that is no ${compression} of the NAR → 400, nothing is left open`, async (t) => {
    const service = await startTestService(t);
    await refused(service, withFile(good, broken.noise as Buffer));
    const before = openThings();
    for (const bytes of Object.values(broken)) {
      await refused(service, withFile(good, bytes));
    }
    assert.deepEqual(await openedSince(before), []);
    await push(service.url, good);
  });

  test(`50: a ${compression} that unpacks to much more than its narinfo says → 400 soon`, async (t) => {
    const service = await startTestService(t);
    const bomb = compress(Buffer.alloc(2 ** 29), compression);
    assert.ok(bomb.length < 2 ** 22);
    const before = process.cpuUsage();
    const memory = process.memoryUsage().rss;
    const text = await refused(service, withFile(good, bomb));
    assert.match(text, /NarSize is wrong: expected \d+, found more than/);
    const { user } = process.cpuUsage(before);
    // All of it would be hashed and take longer than that on any machine.
    assert.ok(user < 500_000, `${user / 1000} ms`);
    assert.ok(process.memoryUsage().rss - memory < 200 << 20);
  });
}

test('63: what this Node can not unpack is taken if its file is what it says', async (t) => {
  const service = await startTestService(t);
  const one = makePackage('opaque', { compression: 'xz' });
  await push(service.url, withFile(one, one.file, { NarHash: ZEROS }));
  assert.match(
    await refused(
      service,
      withFile(makePackage('opaque-2', { compression: 'xz' }), one.file, { FileSize: '1' }),
    ),
    /FileSize/,
  );
});

test('55: several narinfos share a NAR, which is unpacked for each that says something else of it', async (t) => {
  const service = await startTestService(t);
  const twins = ['twin-a', 'twin-b', 'twin-c'].map((name) =>
    makePackage(name, { seed: 'twins', compression: 'br' }),
  );
  const [a, b, c] = twins as [Package, Package, Package];
  assert.equal(a.narPath, c.narPath);
  await push(service.url, a);
  assert.equal((await put(service.url, b.narInfoPath, b.narInfo)).status, 200);
  const lie = c.narInfo.replace(/^NarHash: .*$/m, `NarHash: ${ZEROS}`);
  assert.equal((await put(service.url, c.narInfoPath, lie)).status, 400);
  for (const one of [a, b]) {
    const { text } = await get(service.url, one.narInfoPath);
    assert.equal(text, one.narInfo);
    assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(one.file));
  }
  assert.equal((await get(service.url, c.narInfoPath)).status, 404);
});

test('55: the same path in every compression → the first one is served, every NAR can be fetched', async (t) => {
  const service = await startTestService(t);
  const all = [...UNPACKED, 'xz', 'bzip2'] as Compression[];
  const packs = all.map((compression) => makePackage('again', { compression }));
  for (const one of packs) await push(service.url, one);
  for (let i = 0; i < 2; i++) {
    assert.equal((await get(service.url, packs[0]?.narInfoPath ?? '')).text, packs[0]?.narInfo);
    for (const one of packs) assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
    await service.restart();
  }
});

test('55: what no signature covers stays as it was pushed first, whatever is pushed later; signatures are added', async (t) => {
  const service = await startTestService(t);
  const first = makePackage('covered', { compression: 'br', fields: { Deriver: makePackage('drv').base } });
  await push(service.url, first);
  // Bytes of which nobody here can tell that they are no xz of the NAR: clients would get nothing but an error.
  const spoilt = withFile(makePackage('covered', { compression: 'xz' }), randomBytes(1000));
  const sig = `Sig: ${sign(first.fingerprint, { name: 'k-1', seed: Buffer.alloc(32, 1) })}\n`;
  const later = [
    { ...first, narInfo: first.narInfo.replace(/^Deriver: .*$/m, 'X: y') },
    { ...first, narInfo: first.narInfo.replace(/^Compression: .*$/m, 'Compression: bzip2') },
    { ...first, narInfo: first.narInfo.replace(/^File(?:Hash|Size): .*\n/gm, '') + sig },
    makePackage('covered', { compression: 'none' }),
    spoilt,
  ];
  for (const one of later) await push(service.url, one);
  await service.restart();
  const { text } = await get(service.url, first.narInfoPath);
  assert.equal(text, first.narInfo + sig);
  assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(first.file));
});

test('55: when the NAR that was pushed first is gone, what is pushed next takes its place', async (t) => {
  const service = await startTestService(t);
  const [first, next] = (['br', 'none'] as const).map((compression) =>
    makePackage('replaced', { compression }),
  ) as [Package, Package];
  await push(service.url, first);
  await evict(service, first.narPath);
  await push(service.url, next);
  for (const base of [service.url, `${service.url}/upload`]) {
    const { text } = await get(base, new URL(base).pathname.replace(/\/$/, '') + next.narInfoPath);
    assert.equal(text, next.narInfo);
  }
  assert.ok((await get(service.url, next.narPath)).body.equals(next.file));
});

test('54: a rebuild with another NarHash, in any order and at once → 200, the first stays', async (t) => {
  const service = await startTestService(t);
  const builds = ['a', 'b', 'c', 'd'].map((seed) => makePackage('rebuilt', { seed, compression: 'br' }));
  for (const one of builds) assert.equal((await put(service.url, one.narPath, one.file)).status, 200);
  const replies = await Promise.all(builds.map((one) => put(service.url, one.narInfoPath, one.narInfo)));
  for (const { status, text } of replies) assert.equal(status, 200, text);
  const first = (await get(service.url, builds[0]?.narInfoPath ?? '')).text;
  assert.ok(builds.some(({ narInfo }) => narInfo === first));
  for (const one of builds) await push(service.url, one);
  await service.restart();
  assert.equal((await get(service.url, builds[0]?.narInfoPath ?? '')).text, first);
});

test('50: a reference that is named wrongly, twice, or with a slash → 400', async (t) => {
  const service = await startTestService(t);
  const one = makePackage('referring');
  for (const references of [
    'x',
    one.base.slice(1),
    `../${one.base}`,
    `/nix/store/${one.base}`,
    `${one.base}/bin`,
    `.${one.base}`,
  ]) {
    await refused(service, withFile(one, one.file, { References: references }));
  }
  await push(
    service.url,
    withFile(one, one.file, { References: `${one.base} ${makePackage('other').base}` }),
  );
});
