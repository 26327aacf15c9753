// A disk that takes no more: hits go on, and what is fetched passes through without being kept.
import assert from 'node:assert/strict';
import { mkdir, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { generateKeys } from '../../../lib/nix/signature.ts';
import { get, head, push, put } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { field, makePackage } from '../../fixtures/nar.ts';
import { seemLarge } from '../../fixtures/noting.ts';
import { output } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { needRoot } from '../fixtures/need-root.ts';

const MIB = 2 ** 20;
const small = makePackage('small', { size: MIB });
const large = makePackage('large', { size: 40 * MIB });

/** A filesystem of 24 MiB of its own, and of so many files if that is told. */
async function smallDisk(t: Owner, files?: number): Promise<string> {
  const disk = join(await temporaryFolder(t, 'disk'), 'disk');
  await mkdir(disk);
  const inodes = files === undefined ? '' : `,nr_inodes=${files}`;
  await output('mount', ['-t', 'tmpfs', '-o', `size=24m${inodes}`, 'tmpfs', disk]);
  defer(t, () => output('umount', [disk]));
  return disk;
}

test('on a disk that takes no writes what is to be signed is signed', {
  skip: needRoot('mount'),
}, async (t) => {
  const disk = await smallDisk(t);
  const dir = join(disk, 'cache');
  const home = await temporaryFolder(t, 'home');
  const secret = generateKeys('own-1').secretKey;
  await writeFile(join(home, 'key'), secret);
  const upstream = await startUpstream(t);
  const id = `sha256:${'0'.repeat(64)}!out`;
  const fields = { dependentRealisations: {}, id, outPath: `${'1'.repeat(32)}-x` };
  upstream.on(`/realisations/${id}.doi`, whole(JSON.stringify({ ...fields, signatures: [] })));
  const keys = `[signing]\nkey_file = "${join(home, 'key')}"\nsign = "all"\n`;
  const config = `${keys}[[upstreams]]\nurl = "${upstream.url}"\n`;
  const service = await startService(t, { config, dir });
  await output('mount', ['-o', 'remount,ro', disk]);
  for (let i = 0; i < 2; i++) {
    const reply = await get(service.url, `/realisations/${id}.doi`);
    assert.equal(reply.status, 200, reply.text);
    const { signatures } = JSON.parse(reply.text) as { signatures: string[] };
    assert.match(signatures.join(), /^own-1:[^,]+$/);
  }
});

test('a body larger than the disk reaches every client whole; with room again, it is kept', {
  skip: needRoot('mount'),
}, async (t) => {
  const disk = await smallDisk(t);
  const upstream = await startUpstream(t);
  for (const one of [small, large]) {
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
  }
  const dir = join(disk, 'cache');
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n`, dir });
  const path = async (one: typeof small) =>
    `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  const [smallPath, largePath] = [await path(small), await path(large)];
  assert.ok((await get(service.url, smallPath)).body.equals(small.file));

  const clients = await Promise.all([1, 2, 3].map(() => get(service.url, largePath)));
  for (const { complete, body } of clients) assert.ok(complete && body.equals(large.file));
  await service.logged(/passed on without being kept: .*disk is full/);
  assert.equal((await head(service.url, large.narPath)).status, 404, 'not kept');

  const { bavail, bsize } = await statfs(disk);
  await writeFile(join(disk, 'filler'), Buffer.alloc(Number(bavail) * Number(bsize)));
  const full = await get(service.url, largePath);
  assert.ok(full.complete && full.body.equals(large.file), 'not even a file could be made');
  assert.ok((await get(service.url, smallPath)).body.equals(small.file), 'a hit');
  const refused = await put(service.url, `/log/${'0'.repeat(32)}-x.drv`, Buffer.alloc(MIB));
  assert.equal(refused.status, 507);

  await rm(join(disk, 'filler'));
  assert.equal((await put(service.url, `/log/${'0'.repeat(32)}-x.drv`, Buffer.alloc(MIB))).status, 200);
  assert.equal(await service.stop(), 0);
});

test('a disk that takes no more files is full too', { skip: needRoot('mount') }, async (t) => {
  const disk = await smallDisk(t, 100);
  const upstream = await startUpstream(t);
  upstream.on(small.narInfoPath, whole(small.narInfo));
  const dir = join(disk, 'cache');
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n`, dir });
  const log = (name: string) => put(service.url, `/log/${'0'.repeat(32)}-${name}.drv`, 'text');
  assert.equal((await log('first')).status, 200);
  const fillers: string[] = [];
  while (Number((await statfs(disk)).ffree) > 0) {
    const filler = join(disk, `filler-${fillers.length}`);
    await writeFile(filler, '');
    fillers.push(filler);
  }
  assert.equal((await log('second')).status, 507);
  await service.logged(/the disk has room for 0 files/);
  assert.equal((await get(service.url, small.narInfoPath)).status, 200, 'it is passed on');
  assert.equal((await get(service.url, `/log/${'0'.repeat(32)}-first.drv`)).text, 'text');
  for (const filler of fillers) await rm(filler);
  assert.equal((await log('second')).status, 200);
});

test('uploads that fit one by one but not together are told that the disk is full', {
  skip: needRoot('mount'),
}, async (t) => {
  const service = await startService(t, { dir: join(await smallDisk(t), 'cache') });
  const packages = Array.from({ length: 6 }, (_, i) => makePackage(`${i}`, { size: 10 * MIB }));
  const replies = await Promise.all(packages.map(({ narPath, file }) => put(service.url, narPath, file)));
  const refused = replies.filter(({ status }) => status !== 200);
  assert.ok(refused.length >= 4, `${refused.length}`);
  assert.deepEqual([...new Set(refused.map(({ status }) => status))], [507]);
});

test('on a disk that is nearly full rm learns nothing of a large folder, and does its work', {
  skip: needRoot('mount'),
}, async (t) => {
  const dir = join(await smallDisk(t), 'cache');
  const service = await startService(t, { config: 'upstreams = []\n', dir });
  await push(service.url, small);
  await seemLarge(dir);
  const { code, stderr, stdout } = await (await commandsOn(t, dir)).run('rm', small.storePath);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /looking at all objects/);
  assert.match(stdout, /removed its NAR/);
  assert.ok(!(await readdir(dir)).includes('notes'));
});
