import assert from 'node:assert/strict';
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { age, fileOf } from '../../fixtures/aged.ts';
import { appeared } from '../../fixtures/appeared.ts';
import { push } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { makePackage, publicKey, readNarInfo, sha256 } from '../../fixtures/nar.ts';
import { startService } from '../../fixtures/service.ts';
import { offer, readCache } from '../../fixtures/static-cache.ts';
import { gated, startUpstream, whole } from '../../fixtures/upstream.ts';

const KEY = { name: 'test-1', seed: sha256('seed') };

const upstreamAt = (url: string, more = '') => `${more}\n[[upstreams]]\nurl = "${url}"\n`;

test('a closure goes out: what was pushed, and what only the upstream has, under whatever name', async (t) => {
  const upstream = await startUpstream(t);
  const far = makePackage('far', { compression: 'xz', url: 'nar/opaque.nar.xz?token=1', keys: [KEY] });
  upstream.on(far.narInfoPath, whole(far.narInfo));
  upstream.on('/nar/opaque.nar.xz?token=1', whole(far.file));
  const near = makePackage('near', { compression: 'gzip', references: [far.base] });
  const top = makePackage('top', { references: [near.base, far.base] });
  const other = makePackage('other');
  const service = await startService(t);
  for (const one of [near, top, other]) await push(service.url, one);
  const { run } = await commandsOn(t, service.dir, upstreamAt(upstream.url));
  const folder = join(await temporaryFolder(t), 'stick');

  const { code, stderr, stdout } = await run('export', folder, top.storePath);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^exported 3 paths, .*\n$/);
  const found = await readCache(folder);
  assert.deepEqual(new Set(found.keys()), new Set([far.hash, near.hash, top.hash]));
  assert.equal(found.get(top.hash), top.narInfo);
  assert.equal(found.get(near.hash), near.narInfo);
  assert.equal(found.get(far.hash), far.narInfo.replace('nar/opaque.nar.xz?token=1', far.narPath.slice(1)));
  assert.match(await readFile(join(folder, 'nix-cache-info'), 'utf8'), /^StoreDir: \/nix\/store\n/);
});

test('what goes out does not count as used by that', async (t) => {
  const service = await startService(t);
  const old = makePackage('old', { size: 300_000 });
  await push(service.url, old);
  await age(service.dir, old, 100);
  const paths = [old.narInfoPath, old.narPath];
  const used = () => Promise.all(paths.map(async (path) => (await stat(fileOf(service.dir, path))).mtimeMs));
  const before = await used();
  const { run } = await commandsOn(t, service.dir);
  for (const what of [[], [old.storePath]]) {
    assert.equal((await run('export', join(await temporaryFolder(t), 'stick'), ...what)).code, 0);
  }
  assert.deepEqual(await used(), before);
});

test('what can not be had is named, and the rest goes out', async (t) => {
  const upstream = await startUpstream(t);
  const halfGone = makePackage('half-gone');
  upstream.on(halfGone.narInfoPath, whole(halfGone.narInfo));
  const gone = makePackage('gone');
  const near = makePackage('near');
  const top = makePackage('top', { references: [gone.base, halfGone.base, near.base] });
  const service = await startService(t);
  for (const one of [near, top]) await push(service.url, one);
  const { run } = await commandsOn(t, service.dir, upstreamAt(upstream.url));
  const folder = await temporaryFolder(t);

  const { code, stderr, stdout } = await run('export', folder, top.hash);
  assert.equal(code, 3);
  assert.match(stderr, new RegExp(`^${gone.base}: it is not here, and no upstream has it$`, 'm'));
  assert.match(
    stderr,
    new RegExp(`^${halfGone.storePath}: its NAR is not here, and no upstream has it$`, 'm'),
  );
  assert.match(stdout, /^exported 2 paths.*2 could not be had\n$/);
  assert.deepEqual(new Set((await readCache(folder)).keys()), new Set([near.hash, top.hash]));
});

test('without paths everything goes out whose narinfo and NAR are here, signed as it is served', async (t) => {
  const upstream = await startUpstream(t);
  const [pushed, fetched, known] = [makePackage('pushed'), makePackage('fetched'), makePackage('known')];
  offer(upstream, fetched, known);
  const secret = join(await temporaryFolder(t), 'key');
  const seedAndPublic = Buffer.concat([KEY.seed, publicHalf()]);
  await writeFile(secret, `${KEY.name}:${seedAndPublic.toString('base64')}`);
  const config = upstreamAt(upstream.url, `[signing]\nkey_file = "${secret}"`);
  const service = await startService(t, { config });
  await push(service.url, pushed);
  for (const path of [fetched.narInfoPath, known.narInfoPath, `${fetched.narPath}?hash=${fetched.hash}`])
    await (await fetch(service.url + path)).arrayBuffer();
  assert.equal(await service.stop(), 0);
  const { run } = await commandsOn(t, service.dir, config);
  const folder = await temporaryFolder(t);

  const before = upstream.count();
  assert.deepEqual((await run('export', folder)).code, 0);
  assert.equal(upstream.count(), before, 'the upstream was asked');
  const found = await readCache(folder);
  assert.deepEqual(new Set(found.keys()), new Set([pushed.hash, fetched.hash]));
  const sigs = readNarInfo(found.get(pushed.hash) ?? '').get('Sig') ?? [];
  assert.deepEqual([sigs.length, sigs[0]?.split(':')[0]], [1, KEY.name]);
  assert.equal(readNarInfo(found.get(fetched.hash) ?? '').get('Sig'), undefined);
});

/** Of {@link KEY}. */
function publicHalf(): Buffer {
  const [, base64 = ''] = publicKey(KEY).split(':');
  return Buffer.from(base64, 'base64');
}

test('once more, nothing is written but what is missing or has another size', async (t) => {
  const packages = [makePackage('one'), makePackage('two'), makePackage('three', { compression: 'xz' })];
  const service = await startService(t);
  for (const one of packages) await push(service.url, one);
  const { run } = await commandsOn(t, service.dir);
  const folder = await temporaryFolder(t);
  await run('export', folder);
  const [one, two, three] = packages.map(({ narPath }) => join(folder, narPath)) as [string, string, string];
  const inodes = () => Promise.all([one, two, three].map(async (file) => (await stat(file)).ino));
  const before = await inodes();
  assert.match((await run('export', folder)).stdout, /^exported 0 paths, 0 B; 3 were there already\n$/);
  assert.deepEqual(await inodes(), before);

  await truncate(two, 10);
  assert.match((await run('export', folder)).stdout, /^exported 1 paths, .*; 2 were there already\n$/);
  assert.deepEqual([(await inodes())[0], (await inodes())[2]], [before[0], before[2]]);
  assert.equal((await readCache(folder)).size, 3);
});

test('the folder of another store is left as it is', async (t) => {
  const service = await startService(t);
  await push(service.url, makePackage('one'));
  const { run } = await commandsOn(t, service.dir);
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'nix-cache-info'), 'StoreDir: /gnu/store\n');
  const { code, stderr } = await run('export', folder);
  assert.equal(code, 1);
  assert.match(stderr, /^nix-binary-cache: .* is a cache for \/gnu\/store, expected one for \/nix\/store\n$/);
  assert.deepEqual(await readdir(folder), ['nix-cache-info']);
});

test('killed half-way, it leaves a folder that is right as far as it goes; run again, it is complete', async (t) => {
  const upstream = await startUpstream(t);
  const near = makePackage('near', { size: 50_000 });
  const far = makePackage('far', { size: 300_000, references: [near.base] });
  const top = makePackage('top', { references: [far.base] });
  offer(upstream, far);
  const gate = gated(far.file);
  upstream.on(far.narPath, gate.handler);
  const service = await startService(t);
  for (const one of [near, top]) await push(service.url, one);
  const { killed, run } = await commandsOn(t, service.dir, upstreamAt(upstream.url));
  const folder = await temporaryFolder(t);

  const asked = upstream.asked(far.narPath).then(() => gate.release(100_000));
  const nearThere = appeared(folder, `${near.hash}.narinfo`);
  await killed(Promise.all([asked, nearThere]), 'export', folder, top.storePath);
  const names = await readdir(folder, { recursive: true });
  assert.ok(names.includes(near.narPath.slice(1)));
  for (const one of [far, top])
    assert.ok(!names.includes(`${one.hash}.narinfo`), `${one.base} has a narinfo`);
  assert.ok(!names.includes(far.narPath.slice(1)), 'half a NAR has its name');

  upstream.on(far.narPath, whole(far.file));
  assert.equal((await run('export', folder, top.storePath)).code, 0);
  assert.deepEqual(new Set((await readCache(folder)).keys()), new Set([near.hash, far.hash, top.hash]));
});

test('a damaged NAR does not go out; where an upstream has it, that one does', async (t) => {
  const upstream = await startUpstream(t);
  const [lost, healed] = [makePackage('lost'), makePackage('healed')];
  offer(upstream, healed);
  const service = await startService(t);
  for (const one of [lost, healed]) {
    await push(service.url, one);
    const id = sha256(one.narPath).toString('hex');
    const file = join(service.dir, id.slice(0, 2), id);
    const bytes = await readFile(file);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 200) ^ 1, bytes.length - 200);
    await writeFile(file, bytes);
  }
  const { run } = await commandsOn(t, service.dir, upstreamAt(upstream.url));
  const folder = await temporaryFolder(t);
  const { code, stderr } = await run('export', folder);
  assert.equal(code, 3);
  assert.match(stderr, new RegExp(`^${lost.storePath}: its NAR is not here, and no upstream has it$`, 'm'));
  assert.deepEqual([...(await readCache(folder)).keys()], [healed.hash]);
});

test('a folder that takes no more ends it with one line and exit 1', async (t) => {
  const service = await startService(t);
  await push(service.url, makePackage('one'));
  const { run } = await commandsOn(t, service.dir);
  const { code, stderr, stdout } = await run('export', '/dev/full/stick');
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /^nix-binary-cache: can't write to \/dev\/full\/stick: .*\n$/);
});

test('the folder may be written as Nix writes it, and another URL is no folder', async (t) => {
  const service = await startService(t);
  const one = makePackage('one', { compression: 'xz' });
  await push(service.url, one);
  const { run } = await commandsOn(t, service.dir);
  const folder = join(await temporaryFolder(t), 'a stick');
  const url = `${pathToFileURL(folder)}?compression=xz`;
  assert.equal((await run('export', url)).code, 0);
  assert.deepEqual([...(await readCache(folder)).keys()], [one.hash]);
  assert.match((await run('import', url)).stdout, /1 were there already/);
  for (const operand of ['s3://stick', 'file://stick/x', 'https://stick']) {
    const { code, stderr } = await run('export', operand);
    assert.deepEqual([code, /expected a folder/.test(stderr)], [2, true], stderr);
  }
  assert.equal((await run('import', 's3://stick')).code, 2);
});
