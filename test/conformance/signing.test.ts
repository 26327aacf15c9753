// Own signatures: added to what is served, never to what is stored. Section 8 of docs/protocol.md, 15, with the vector of its
// section 2.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { get, head, push, put } from '../fixtures/client.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { type Key, makePackage, type Package, publicKey, readNarInfo, sign } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { storedFiles } from '../fixtures/stored-files.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

/** The key of the vector. */
const FIRST: Key = { name: 't-1', seed: Buffer.from(Array.from({ length: 32 }, (_, i) => i)) };
const SECOND: Key = { name: 't-2', seed: Buffer.alloc(32, 7) };
const BUILDER: Key = { name: 'builder-1', seed: Buffer.alloc(32, 9) };

const pushed = makePackage('pushed', {
  keys: [BUILDER],
  references: [makePackage('z').base, makePackage('a').base],
});
const plain = makePackage('plain', { compression: 'br' });
const far = makePackage('far', { keys: [BUILDER] });

/** A secret key as Nix writes it. */
function secretKey(key: Key): string {
  const [name, base64 = ''] = publicKey(key).split(':');
  return `${name}:${Buffer.concat([key.seed, Buffer.from(base64, 'base64')]).toString('base64')}`;
}

async function keyFile(t: TestContext): Promise<{ toml: string; write(key: Key | string): Promise<void> }> {
  const file = join(await temporaryFolder(t), 'key');
  const write = (key: Key | string) => writeFile(file, typeof key === 'string' ? key : secretKey(key));
  await write(FIRST);
  return { toml: `[signing]\nkey_file = "${file}"\n`, write };
}

async function start(t: TestContext, toml: string): Promise<TestService> {
  const upstream = await startUpstream(t);
  upstream.on(far.narInfoPath, whole(far.narInfo));
  upstream.on(far.narPath, whole(far.file));
  return startTestService(t, { upstreams: [upstream.url], toml });
}

async function sigs(service: TestService, one: Package): Promise<string[]> {
  const got = await get(service.url, one.narInfoPath);
  assert.equal(got.status, 200, got.text);
  const asked = await head(service.url, one.narInfoPath);
  const { date: _, ...headers } = got.headers;
  const { date: __, ...same } = asked.headers;
  assert.deepEqual(same, headers, 'HEAD says what GET says');
  assert.equal(headers['content-length'], String(got.body.length));
  return readNarInfo(got.text).get('Sig') ?? [];
}

const by = (one: Package, ...keys: Key[]) => keys.map((key) => sign(one.fingerprint, key));

/** What came from an upstream is stored when it has been served already. */
async function assertStored(service: TestService, ...packages: Package[]): Promise<void> {
  for (const { narInfoPath, narInfo } of packages) {
    const stored = async () => (await storedFiles(service.dir, false)).get(narInfoPath);
    await until(async () => (await stored()) !== undefined, `${narInfoPath} to be stored`);
    assert.equal((await stored())?.toString(), narInfo);
  }
}

test('15: sign = "pushed": what was pushed goes out with our signature more, what came from upstreams as it is', async (t) => {
  const { toml } = await keyFile(t);
  const service = await start(t, toml);
  for (const one of [pushed, plain]) await push(service.url, one);
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await sigs(service, pushed), by(pushed, BUILDER, FIRST));
    assert.deepEqual(await sigs(service, plain), by(plain, FIRST));
    assert.deepEqual(await sigs(service, far), by(far, BUILDER));
    const below = await get(service.url, `/upload${pushed.narInfoPath}`);
    assert.deepEqual(readNarInfo(below.text).get('Sig'), by(pushed, BUILDER, FIRST));
    await service.restart();
  }
  await assertStored(service, pushed, plain, far);
});

test('15: sign = "all": what came from upstreams too, the first time, joined, from memory and from the folder', async (t) => {
  const { toml } = await keyFile(t);
  const service = await start(t, `${toml}sign = "all"\n`);
  const all = await Promise.all([sigs(service, far), sigs(service, far), sigs(service, far)]);
  for (const one of all) assert.deepEqual(one, by(far, BUILDER, FIRST));
  assert.deepEqual(await sigs(service, far), by(far, BUILDER, FIRST));
  await push(service.url, pushed);
  assert.deepEqual(await sigs(service, pushed), by(pushed, BUILDER, FIRST));
  await service.restart();
  assert.deepEqual(await sigs(service, far), by(far, BUILDER, FIRST));
  await assertStored(service, far, pushed);
});

test('another key, none, or more to sign: from the next answer on, and nothing stored changes', async (t) => {
  const { toml, write } = await keyFile(t);
  const service = await start(t, toml);
  await push(service.url, pushed);
  const changes: [change: () => Promise<void>, ofPushed: Key[], ofFar: Key[]][] = [
    [async () => {}, [BUILDER, FIRST], [BUILDER]],
    [() => write(SECOND).then(() => service.reload(toml)), [BUILDER, SECOND], [BUILDER]],
    [() => service.reload(`${toml}sign = "all"\n`), [BUILDER, SECOND], [BUILDER, SECOND]],
    [() => service.reload(''), [BUILDER], [BUILDER]],
    [() => write(FIRST).then(() => service.restart(toml)), [BUILDER, FIRST], [BUILDER]],
    [() => service.restart(''), [BUILDER], [BUILDER]],
  ];
  for (const [change, ofPushed, ofFar] of changes) {
    await change();
    assert.deepEqual(await sigs(service, pushed), by(pushed, ...ofPushed));
    assert.deepEqual(await sigs(service, far), by(far, ...ofFar));
    await assertStored(service, pushed, far);
  }
});

test('several keys all sign, so that one can take the place of another without a day for everybody to change', async (t) => {
  const old = await keyFile(t);
  const next = await keyFile(t);
  await next.write(SECOND);
  const [oldFile, newFile] = [old, next].map(({ toml }) => /"(.*)"/.exec(toml)?.[1]);
  const both = `[signing]\nkey_files = ["${oldFile}", "${newFile}"]\n`;
  const service = await start(t, old.toml);
  for (const one of [pushed, plain]) await push(service.url, one);
  const steps: [toml: string, keys: Key[]][] = [
    [old.toml, [FIRST]],
    [both, [FIRST, SECOND]],
    [`[signing]\nkey_file = "${oldFile}"\nkey_files = ["${newFile}", "${oldFile}"]\n`, [FIRST, SECOND]],
    [`[signing]\nkey_files = ["${newFile}"]\n`, [SECOND]],
  ];
  for (const [toml, keys] of steps) {
    await service.reload(toml);
    assert.deepEqual(await sigs(service, pushed), by(pushed, BUILDER, ...keys));
    assert.deepEqual(await sigs(service, plain), by(plain, ...keys));
  }
});

test('a key that can not be used: the start fails, a reload keeps the old one, and neither shows it', async (t) => {
  const { toml, write } = await keyFile(t);
  const service = await start(t, toml);
  await push(service.url, plain);
  const good = secretKey(SECOND);
  const [, base64 = ''] = good.split(':');
  const halves = Buffer.from(base64, 'base64');
  const swapped = `t-2:${Buffer.concat([halves.subarray(32), halves.subarray(0, 32)]).toString('base64')}`;
  for (const bad of [
    '',
    't-2',
    base64,
    `t-2:${base64.slice(4)}`,
    swapped,
    publicKey(SECOND),
    `a b:${base64}`,
  ]) {
    await write(bad);
    const discreet = (error: Error) => {
      assert.match(error.message, /signing\.key_file/);
      return (
        !error.message.includes(base64.slice(4, 20)) && !JSON.stringify(error).includes(base64.slice(4, 20))
      );
    };
    await assert.rejects(service.reload(toml), discreet);
    await assert.rejects(startTestService(t, { toml }), discreet);
    assert.deepEqual(await sigs(service, plain), by(plain, FIRST));
  }
  await write(`\n ${good}\n`);
  await service.reload(toml);
  assert.deepEqual(await sigs(service, plain), by(plain, SECOND));
});

test('our signature that a client sends back (nix store sign) is kept like any other, once, also when the key is gone', async (t) => {
  const { toml, write } = await keyFile(t);
  const all = `${toml}sign = "all"\n`;
  const service = await start(t, all);
  await push(service.url, plain);
  for (const one of [plain, far]) {
    const before = await sigs(service, one);
    const { text } = await get(service.url, one.narInfoPath);
    const [mine = ''] = by(one, FIRST);
    const more = `${text}Sig: ${mine}\nSig: ${sign(one.fingerprint, SECOND)}\nSig: ${mine}\n`;
    for (let i = 0; i < 2; i++) assert.equal((await put(service.url, one.narInfoPath, more)).status, 200);
    const after = await sigs(service, one);
    assert.deepEqual(after.toSorted(), [...before, ...by(one, SECOND)].toSorted());
    const stored = (await storedFiles(service.dir, false)).get(one.narInfoPath)?.toString() ?? '';
    assert.equal(stored.split(mine).length, 2, stored);
  }
  await write(BUILDER);
  await service.reload(all);
  for (const one of [plain, far])
    assert.deepEqual((await sigs(service, one)).toSorted(), by(one, FIRST, SECOND, BUILDER).toSorted());
});

test('what a client has signed with the same key itself has that signature once', async (t) => {
  const { toml } = await keyFile(t);
  const service = await start(t, toml);
  const signed = makePackage('plain', { compression: 'br', keys: [FIRST, BUILDER] });
  await push(service.url, signed);
  assert.deepEqual((await sigs(service, signed)).toSorted(), by(signed, FIRST, BUILDER).toSorted());
  await service.reload('');
  assert.deepEqual(await sigs(service, signed), by(signed, FIRST, BUILDER), 'it was kept');
  await push(service.url, makePackage('plain', { compression: 'br', keys: [SECOND] }));
  assert.ok((await sigs(service, signed)).includes(by(signed, BUILDER)[0] ?? ''));
});

test('the signature of the vector, of a narinfo that has no reference in order', async (t) => {
  // Its NarHash is that of nothing, whose NAR can't be pushed: it comes from an upstream.
  const { toml } = await keyFile(t);
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url], toml: `${toml}sign = "all"\n` });
  const hash = '0'.repeat(32);
  const narInfo = [
    `StorePath: /nix/store/${hash}-a`,
    'URL: nar/x.nar',
    'Compression: none',
    'NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73',
    'NarSize: 1',
    `References: ${'1'.repeat(32)}-b ${hash}-a`,
  ];
  upstream.on(`/${hash}.narinfo`, whole(`${narInfo.join('\n')}\n`));
  const { text } = await get(service.url, `/${hash}.narinfo`);
  assert.deepEqual(readNarInfo(text).get('Sig'), [
    't-1:IdwbU46zYtBueUmRF7WNrNC53PSVP48iCezLAieFY7cIi9L5y2B+t04dQzniEIHwYsAo0xObgTv7mNQuFaKrDw==',
  ]);
});
