import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { appeared } from '../../fixtures/appeared.ts';
import { get, push } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { makePackage, publicKey, sha256 } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { assertPushed } from '../../fixtures/pushed.ts';
import { startService } from '../../fixtures/service.ts';
import { offer, readCache, writeCache } from '../../fixtures/static-cache.ts';
import { storedFiles } from '../../fixtures/stored-files.ts';
import { gated, startUpstream, truncated, whole } from '../../fixtures/upstream.ts';

const KEY = { name: 'test-1', seed: sha256('seed') };

test('what one cache exports another one takes in, beside its running service, and gives out again', async (t) => {
  const near = makePackage('near', { compression: 'gzip', keys: [KEY] });
  const top = makePackage('top', { references: [near.base], compression: 'xz' });
  const [first, second] = [await startService(t), await startService(t)];
  for (const one of [near, top]) await push(first.url, one);
  assert.equal((await get(second.url, top.narInfoPath)).status, 404);
  const [stick, back] = [await temporaryFolder(t), await temporaryFolder(t)];
  assert.equal((await (await commandsOn(t, first.dir)).run('export', stick)).code, 0);
  const { run } = await commandsOn(t, second.dir);

  const { code, stderr, stdout } = await run('import', stick);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^imported 2 paths, .*\n$/);
  for (const one of [near, top]) await assertPushed(second.url, one);
  assert.equal((await run('export', back)).code, 0);
  assert.deepEqual(await readCache(back), await readCache(stick));

  const before = await storedFiles(second.dir, true);
  assert.match((await run('import', stick)).stdout, /^imported 0 paths, 0 B; 2 were there already\n$/);
  assert.deepEqual(await storedFiles(second.dir, true), before);
});

test('a new signature of what is here is taken, without its NAR', async (t) => {
  const [plain, signed] = [makePackage('one'), makePackage('one', { keys: [KEY] })];
  const service = await startService(t);
  await push(service.url, plain);
  const folder = await temporaryFolder(t);
  await writeCache(folder, [signed]);
  const { run } = await commandsOn(t, service.dir);
  assert.match((await run('import', folder)).stdout, /^imported 1 paths, 0 B\n$/);
  const files = await storedFiles(service.dir, true);
  assert.equal(files.get(plain.narInfoPath)?.toString(), signed.narInfo);
});

test('only what one of the trusted keys has signed is taken, and no NAR of anything else is read', async (t) => {
  const [signed, unsigned] = [makePackage('signed', { keys: [KEY] }), makePackage('unsigned')];
  const upstream = await startUpstream(t);
  offer(upstream, signed, unsigned);
  const service = await startService(t);
  const config = `upstreams = []\n[push]\ntrusted_keys = ["${publicKey(KEY)}"]\n`;
  const { run } = await commandsOn(t, service.dir, config);
  const { code, stderr } = await run('import', upstream.url, signed.hash, unsigned.hash);
  assert.equal(code, 3);
  assert.match(
    stderr,
    new RegExp(`^${unsigned.storePath}: expected a signature of test-1 that verifies, found none$`, 'm'),
  );
  assert.equal(upstream.count(unsigned.narPath), 0);
  await assertPushed(service.url, signed);
});

test('of a closure what is missing is named, unless it is here', async (t) => {
  const [gone, here, near] = [makePackage('gone'), makePackage('here'), makePackage('near')];
  const top = makePackage('top', { references: [gone.base, here.base, near.base] });
  const upstream = await startUpstream(t);
  offer(upstream, near, top);
  const service = await startService(t);
  await push(service.url, here);
  const { run } = await commandsOn(t, service.dir);
  const { code, stderr } = await run('import', upstream.url, top.storePath);
  assert.equal(code, 3);
  assert.equal(stderr, `${gone.base}: there is no narinfo of ${gone.base}\n`);
  for (const one of [near, top]) await assertPushed(service.url, one);
});

test('what an upstream had and what was pushed otherwise: the one becomes pushed, the other stays', async (t) => {
  const upstream = await startUpstream(t);
  const fetched = makePackage('fetched');
  const [first, other] = [makePackage('rebuilt'), makePackage('rebuilt', { seed: 'again' })];
  offer(upstream, fetched);
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n` });
  await push(service.url, first);
  for (const path of [fetched.narInfoPath, `${fetched.narPath}?hash=${fetched.hash}`])
    await (await fetch(service.url + path)).arrayBuffer();
  const folder = await temporaryFolder(t);
  await writeCache(folder, [fetched, other]);
  const { run } = await commandsOn(t, service.dir);
  const { code, stderr, stdout } = await run('import', folder);
  assert.equal(code, 0);
  assert.match(stdout, /^imported 1 paths, 0 B; 1 were there already\n$/);
  assert.match(stderr, /rebuilt is already here with another content, which stays/);
  const files = await storedFiles(service.dir, true);
  assert.equal(files.get(fetched.narInfoPath)?.toString(), fetched.narInfo);
  assert.equal(files.get(first.narInfoPath)?.toString(), first.narInfo);
  assert.equal(files.has(other.narPath), false);
});

test('killed half-way nothing half is seen, and run again it is complete', async (t) => {
  const upstream = await startUpstream(t);
  const near = makePackage('near');
  const far = makePackage('far', { size: 300_000, references: [near.base] });
  const top = makePackage('top', { references: [far.base] });
  offer(upstream, near, top, far);
  const gate = gated(far.file);
  upstream.on(far.narPath, gate.handler);
  const service = await startService(t);
  const { killed, run } = await commandsOn(t, service.dir);
  const id = sha256(near.narInfoPath).toString('hex');
  await mkdir(join(service.dir, id.slice(0, 2)), { recursive: true });
  const nearThere = appeared(join(service.dir, id.slice(0, 2)), id);
  const asked = upstream.asked(far.narPath).then(() => gate.release(100_000));
  await killed(Promise.all([asked, nearThere]), 'import', upstream.url, top.hash);
  await assertPushed(service.url, near);
  for (const { narInfoPath, narPath } of [far])
    for (const path of [narInfoPath, narPath]) assert.equal((await get(service.url, path)).status, 404, path);
  assert.equal((await get(service.url, top.narInfoPath)).status, 404);

  upstream.on(far.narPath, whole(far.file));
  const before = upstream.count(near.narPath);
  assert.equal((await run('import', upstream.url, top.hash)).code, 0);
  assert.equal(upstream.count(near.narPath), before, 'what is here was fetched again');
  for (const one of [near, far, top]) await assertPushed(service.url, one);
  await service.stop();
  // A start removes what the kill left behind.
  const again = await startService(t, { dir: service.dir });
  await storedFiles(again.dir, true);
});

test('a service that starts meanwhile leaves it what it is working on', async (t) => {
  const upstream = await startUpstream(t);
  const one = makePackage('one', { size: 300_000 });
  offer(upstream, one);
  const gate = gated(one.file);
  upstream.on(one.narPath, gate.handler);
  const service = await startService(t);
  const { run } = await commandsOn(t, service.dir);
  const importing = run('import', upstream.url, one.hash);
  await upstream.asked(one.narPath);
  gate.release(100_000);
  const tmp = join(service.dir, 'tmp');
  await until(async () => (await readdir(tmp)).length > 0, 'its temporary file');
  assert.equal(await service.stop(), 0);
  const again = await startService(t, { dir: service.dir });
  gate.release(one.file.length);
  const { code, stderr } = await importing;
  assert.equal(code, 0, stderr);
  await assertPushed(again.url, one);
  assert.deepEqual(await readdir(tmp), []);
});

test('what breaks off is continued where it did, if it is still the same file', async (t) => {
  const upstream = await startUpstream(t);
  const [same, changed] = [makePackage('same', { size: 200_000 }), makePackage('changed', { size: 200_000 })];
  offer(upstream, same, changed);
  for (const [one, etags] of [
    [same, ['"a"', '"a"']],
    [changed, ['"a"', '"b"']],
  ] as const) {
    upstream.on(one.narPath, (request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      if (from === 0) return truncated(one.file, 100_000, { etag: etags[0] })(request, response);
      const range = `bytes ${from}-${one.file.length - 1}/${one.file.length}`;
      response.writeHead(206, { etag: etags[1], 'content-range': range }).end(one.file.subarray(from));
    });
  }
  const service = await startService(t);
  const { run } = await commandsOn(t, service.dir);
  const { code, stderr } = await run('import', upstream.url, same.hash, changed.hash);
  assert.equal(code, 3);
  assert.match(stderr, new RegExp(`${changed.storePath}: .* changed while it was read`));
  assert.equal(upstream.count(same.narPath), 2);
  await assertPushed(service.url, same);
});

test('what makes no sense ends with 2, what is not there with 1', async (t) => {
  const folder = await temporaryFolder(t);
  const { run } = await commandsOn(t, join(folder, 'cache'));
  for (const args of [
    ['import'],
    ['import', 'https://cache.example.org'],
    ['import', folder, 'no-store-path'],
    ['import', '--from-go', 'https://cache.example.org'],
    ['import', '--from-go', folder, makePackage('one').hash],
    ['import', '--verbose', folder],
    ['import', 'http://', makePackage('one').hash],
    ['export'],
    ['export', '--verbose', folder],
  ]) {
    const { code, stderr, stdout } = await run(...args);
    assert.deepEqual([code, stdout], [2, ''], `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, /^nix-binary-cache: .*\n$/);
  }
  const missing = await run('import', join(folder, 'missing'));
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /^nix-binary-cache: can't read .*missing: .*\n$/);
  const nothing = await run('export', join(folder, 'out'));
  assert.equal(nothing.code, 0);
});
