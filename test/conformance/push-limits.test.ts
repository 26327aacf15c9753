// Uploads that are too large, too slow, or whose client leaves; and keys that must have signed. Section 8 of docs/protocol.md,
// 41, 46, 47, 53.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { get, push, put } from '../fixtures/client.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import {
  compress,
  field,
  makePackage,
  nar,
  type Package,
  pathFor,
  publicKey,
  readNarInfo,
  sha256,
  sign,
} from '../fixtures/nar.ts';
import { openedSince, openThings } from '../fixtures/open-things.ts';
import { until } from '../fixtures/patience.ts';
import { rawConnect, requestText } from '../fixtures/raw-client.ts';
import { storedFiles } from '../fixtures/stored-files.ts';

const one = makePackage('limited', { size: 60_000 });
const LIMIT = one.file.length;
const large = makePackage('larger', { size: 200_000 });
const KEYS = ['trusted-1', 'other-1', 'trusted-2'].map((name, i) => ({
  name,
  seed: Buffer.alloc(32, i + 1),
}));
const [TRUSTED, OTHER, TRUSTED_TOO] = KEYS as [(typeof KEYS)[0], (typeof KEYS)[0], (typeof KEYS)[0]];

async function assertNothingStored(service: TestService): Promise<void> {
  const spools = () => readdir(join(service.dir, 'tmp'));
  await until(async () => (await spools()).length === 0, 'temporary files to go');
  assert.equal((await storedFiles(service.dir, true)).size, 0);
}

const TARGETS = [
  large.narPath,
  `/upload${large.narPath}`,
  `/log/${large.base}.drv`,
  `/${large.hash}.ls`,
  large.narInfoPath,
];
for (const path of TARGETS) {
  test(`41: PUT ${path} over max_upload_size → 413 before 100`, async (t) => {
    const service = await startTestService(t, { config: { maxUploadBytes: LIMIT } });
    const client = await rawConnect(t, service.url);
    client.send(
      requestText(`PUT ${path} HTTP/1.1`, { 'Content-Length': String(LIMIT + 1), Expect: '100-continue' }),
    );
    const { status, body } = await client.reply();
    assert.equal(status, 413);
    assert.match(body.toString(), new RegExp(`expected at most ${LIMIT} bytes, found ${LIMIT + 1}`));
    await assertNothingStored(service);
  });

  test(`41: PUT ${path} over max_upload_size in chunks → 413, nothing stored`, async (t) => {
    const service = await startTestService(t, { config: { maxUploadBytes: LIMIT } });
    const client = await rawConnect(t, service.url);
    client.send(requestText(`PUT ${path} HTTP/1.1`, { 'Transfer-Encoding': 'chunked' }));
    for (let sent = 0; sent <= LIMIT; sent += 1000) client.send('3e8\r\n', Buffer.alloc(1000, 'x'), '\r\n');
    client.send('0\r\n\r\n');
    const { status, body } = await client.reply();
    assert.equal(status, 413, body.toString());
    assert.match(body.toString(), new RegExp(`expected at most ${LIMIT} bytes, found more`));
    await assertNothingStored(service);
  });
}

test('41: what is as large as may be is taken, with its length and in chunks', async (t) => {
  const service = await startTestService(t, { config: { maxUploadBytes: LIMIT } });
  await push(service.url, one);
  const client = await rawConnect(t, service.url);
  client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Transfer-Encoding': 'chunked' }));
  client.send(`${LIMIT.toString(16)}\r\n`, one.file, '\r\n0\r\n\r\n');
  assert.equal((await client.reply()).status, 200);
});

test('41: a narinfo of more than a megabyte → 413 before 100, whatever the limit', async (t) => {
  const service = await startTestService(t);
  const client = await rawConnect(t, service.url);
  const length = String((1 << 20) + 1);
  client.send(
    requestText(`PUT ${one.narInfoPath} HTTP/1.1`, { 'Content-Length': length, Expect: '100-continue' }),
  );
  assert.equal((await client.reply()).status, 413);
});

test('58: a body that unpacks to more than max_upload_size → 413, nothing stored', async (t) => {
  const service = await startTestService(t, { toml: 'max_upload_size = "1 MiB"' });
  for (const coding of ['gzip', 'br'] as const) {
    const bomb = compress(Buffer.alloc(2 ** 28), coding);
    const reply = await put(service.url, `/log/${one.base}.drv`, bomb, { 'content-encoding': coding });
    assert.equal(reply.status, 413, reply.text);
  }
  await assertNothingStored(service);
});

const DEADLINES = { connectMs: 5000, firstByteMs: 5000, stallMs: 400 };

test('46: an upload that falls silent is cut after stall_timeout, and nothing of it is visible', async (t) => {
  const service = await startTestService(t, { deadlines: DEADLINES });
  for (const expects of [true, false]) {
    const client = await rawConnect(t, service.url);
    const headers = { 'Content-Length': String(LIMIT), ...(expects ? { Expect: '100-continue' } : {}) };
    client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, headers));
    if (expects) assert.equal((await client.reply()).status, 100);
    client.send(one.file.subarray(0, 1000));
    const started = performance.now();
    await client.closed();
    assert.ok(performance.now() - started > 350);
    await assertNothingStored(service);
  }
});

test('47: an upload that is slow is not cut, however long it takes', async (t) => {
  const service = await startTestService(t, { deadlines: { ...DEADLINES, stallMs: 2000 } });
  const client = await rawConnect(t, service.url);
  client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Content-Length': String(LIMIT) }));
  const started = performance.now();
  for (let at = 0; at < LIMIT; at += LIMIT / 10) {
    client.send(one.file.subarray(at, at + LIMIT / 10));
    await delay(300);
  }
  assert.ok(performance.now() - started > 2500);
  assert.equal((await client.reply()).status, 200);
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
});

test('a client that leaves while its NAR is being unpacked stops that, and leaves nothing open', async (t) => {
  const service = await startTestService(t);
  await get(service.url, '/nix-cache-info');
  const before = openThings();
  // 32 GiB in members of 64 MiB: to unpack it takes minutes.
  const member = gzipSync(Buffer.alloc(2 ** 26), { level: 9 });
  const file = Buffer.concat(Array.from({ length: 512 }, () => member));
  const packs = ['left-a', 'left-b', 'left-c'].map((name) => makePackage(name, { compression: 'gzip' }));
  const hash = encodeNix32(sha256(file));
  await put(service.url, `/nar/${hash}.nar`, file);
  for (const { narInfo, narInfoPath } of packs) {
    const text = narInfo
      .replace(/^URL: .*$/m, `URL: nar/${hash}.nar`)
      .replace(/^File(Hash|Size): .*\n/gm, '')
      .replace(/^NarSize: .*$/m, 'NarSize: 1000000000000');
    const client = await rawConnect(t, service.url);
    client.send(requestText(`PUT ${narInfoPath} HTTP/1.1`, { 'Content-Length': String(text.length) }), text);
    // It is under way, or waits for its turn.
    await get(service.url, narInfoPath);
    client.destroy();
    await service.logged(new RegExp(`PUT ${narInfoPath} - cut`));
  }
  assert.deepEqual(await openedSince(before), []);
  const good = makePackage('after', { compression: 'gzip' });
  await push(service.url, good);
});

const trusting = (...keys: (typeof KEYS)[0][]) =>
  `[push]\ntrusted_keys = ${JSON.stringify(keys.map((key) => publicKey(key)))}\n`;

test('trusted_keys: only what one of them has signed is taken, by whomever else it is signed too', async (t) => {
  const service = await startTestService(t, { toml: trusting(TRUSTED, TRUSTED_TOO) });
  const plain = makePackage('signed');
  await put(service.url, plain.narPath, plain.file);
  const by = (...sigs: string[]) => plain.narInfo + sigs.map((sig) => `Sig: ${sig}\n`).join('');
  const good = sign(plain.fingerprint, TRUSTED);
  const zeros = `${TRUSTED.name}:${Buffer.alloc(64).toString('base64')}`;
  const bad: Record<string, string> = {
    'not signed': by(),
    'signed by another key': by(sign(plain.fingerprint, OTHER)),
    'signed by another key of the same name': by(sign(plain.fingerprint, { ...OTHER, name: TRUSTED.name })),
    'signed by the right key under another name': by(
      sign(plain.fingerprint, { ...TRUSTED, name: 'trusted-3' }),
    ),
    'with a signature of another path': by(sign(makePackage('else').fingerprint, TRUSTED)),
    'with a signature of other references': by(good).replace(
      /^References: .*$/m,
      `References: ${plain.base}`,
    ),
    'with a signature of another size': by(sign(plain.fingerprint.replace(/;\d+;/, ';7;'), TRUSTED)),
    'with a signature of nothing': by(sign('', TRUSTED)),
    'with zeros for a signature': by(zeros),
    'by many others': by(...Array.from({ length: 5000 }, (_, i) => zeros.replace(TRUSTED.name, `ключ-${i}`))),
  };
  for (const [what, narInfo] of Object.entries(bad)) {
    const { status, text } = await put(service.url, plain.narInfoPath, narInfo);
    assert.equal(status, 400, what);
    assert.match(text, /expected a signature of trusted-1 or trusted-2 that verifies, found \S/, what);
    assert.ok(Buffer.byteLength(text) < 1024, `${what}: ${text.length}`);
    assert.equal((await get(service.url, plain.narInfoPath)).status, 404, what);
  }
  for (const key of [TRUSTED, TRUSTED_TOO]) {
    const pack = makePackage(`by-${key.name}`, { keys: [OTHER, key] });
    await push(service.url, pack);
    assert.equal((await get(service.url, pack.narInfoPath)).text, pack.narInfo);
  }
  // Once it is here, a signature more still has to come with one of them.
  assert.equal((await put(service.url, plain.narInfoPath, by(good))).status, 200);
  assert.equal((await put(service.url, plain.narInfoPath, by(sign(plain.fingerprint, OTHER)))).status, 400);
  const both = by(good, sign(plain.fingerprint, OTHER));
  assert.equal((await put(service.url, plain.narInfoPath, both)).status, 200);
  const { text } = await get(service.url, plain.narInfoPath);
  assert.equal(readNarInfo(text).get('Sig')?.length, 2);
  assert.equal(field(text, 'StorePath'), plain.storePath);
});

test('ten thousand forged signatures by a trusted name hold nobody up', async (t) => {
  const service = await startTestService(t, { toml: trusting(TRUSTED) });
  const plain = makePackage('forged');
  await put(service.url, plain.narPath, plain.file);
  // All but its beginning is as it should be, so that each has to be computed to the end.
  const bytes = Buffer.from(sign('x', TRUSTED).slice(TRUSTED.name.length + 1), 'base64');
  const forged = (i: number) => {
    bytes.writeUInt32LE(i);
    return `Sig: ${TRUSTED.name}:${bytes.toString('base64')}\n`;
  };
  const sigs = Array.from({ length: 9500 }, (_, i) => forged(i)).join('');
  const before = process.cpuUsage();
  assert.equal((await put(service.url, plain.narInfoPath, plain.narInfo + sigs)).status, 400);
  const { user } = process.cpuUsage(before);
  assert.ok(user < 400_000, `${user / 1000} ms`);
});

test('signatures that are added without end are refused when the narinfo would become too large', async (t) => {
  const service = await startTestService(t);
  const plain = makePackage('growing');
  await push(service.url, plain);
  const statuses: number[] = [];
  for (let round = 0; round < 2; round++) {
    const sigs = Array.from({ length: 9000 }, (_, i) => {
      const bytes = Buffer.alloc(64);
      bytes.writeUInt32LE(i + 1, round * 8);
      return `Sig: k:${bytes.toString('base64')}\n`;
    });
    statuses.push((await put(service.url, plain.narInfoPath, plain.narInfo + sigs.join(''))).status);
  }
  assert.deepEqual(statuses, [200, 413]);
  assert.ok((await get(service.url, plain.narInfoPath)).body.length <= 1 << 20);
});

test('76: trusted_keys: what follows from its content is taken unsigned, with references too; nothing else is', async (t) => {
  const service = await startTestService(t, { toml: trusting(TRUSTED) });
  const contents = Buffer.from('some text\n');
  const file = nar({ type: 'regular', contents });
  const [flat, whole] = [sha256(contents), sha256(file)];
  const reference = makePackage('other').base;
  const fixed = sha256(`fixed:out:sha256:${flat.toString('hex')}:`);
  const forms: [ca: string, base: string, references: string][] = [
    [`text:sha256:${encodeNix32(flat)}`, pathFor('text', flat, 'a.drv'), ''],
    [`text:sha256:${encodeNix32(flat)}`, pathFor(`text:/nix/store/${reference}`, flat, 'b.drv'), reference],
    [`fixed:sha256:${encodeNix32(flat)}`, pathFor('output:out', fixed, 'c.txt'), ''],
    [`fixed:r:sha256:${encodeNix32(whole)}`, pathFor('source', whole, 'd.txt'), ''],
    [
      `fixed:r:sha256:${encodeNix32(whole)}`,
      pathFor(`source:/nix/store/${reference}`, whole, 'e'),
      reference,
    ],
  ];
  const narPath = `/nar/${encodeNix32(whole)}.nar`;
  assert.equal((await put(service.url, narPath, file)).status, 200);
  for (const [ca, base, references] of forms) {
    const text = (base: string, references: string) =>
      `StorePath: /nix/store/${base}\nURL: ${narPath.slice(1)}\nCompression: none\n` +
      `NarHash: sha256:${encodeNix32(whole)}\nNarSize: ${file.length}\nReferences: ${references}\nCA: ${ca}\n`;
    const offer = (base: string, references: string) =>
      put(service.url, `/${base.slice(0, 32)}.narinfo`, text(base, references));
    for (const wrong of [makePackage('x').base, `${base}x`])
      assert.equal((await offer(wrong, references)).status, 400, ca);
    assert.equal((await offer(base, `${references} ${makePackage('y').base}`)).status, 400, ca);
    assert.equal((await offer(base, references)).status, 200, ca);
    assert.equal((await get(service.url, `/${base.slice(0, 32)}.narinfo`)).text, text(base, references));
  }
});

test('a first push that lacks the demanded signature gives way to one that has it, and only to that', async (t) => {
  const service = await startTestService(t);
  const builds = ['one', 'two', 'three', 'four'].map((seed, i) =>
    makePackage('rebuilt', { seed, keys: i === 0 ? [] : i === 1 ? [OTHER] : [TRUSTED] }),
  ) as [Package, Package, Package, Package];
  const served = async () => (await get(service.url, builds[0].narInfoPath)).text;
  await push(service.url, builds[0]);
  await push(service.url, builds[1]);
  assert.equal(await served(), builds[0].narInfo);
  await service.reload(trusting(TRUSTED));
  assert.equal((await put(service.url, builds[1].narInfoPath, builds[1].narInfo)).status, 400);
  assert.equal(await served(), builds[0].narInfo);
  for (const build of builds.slice(2)) {
    await push(service.url, build);
    assert.equal(await served(), builds[2].narInfo);
    await service.restart();
  }
  assert.deepEqual((await get(service.url, builds[2].narPath)).body, builds[2].file);
});
