// A disk that takes no writes for a while, and a folder that is removed under a running service.
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileOf } from '../../../lib/store/folder/files.ts';
import { idOf } from '../../../lib/store/object-id.ts';
import { get, push, put } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { field, makePackage } from '../../fixtures/nar.ts';
import { output } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { startUpstream, type TestUpstream, whole } from '../../fixtures/upstream.ts';
import { needRoot } from '../fixtures/need-root.ts';

const held = makePackage('held', { size: 100_000 });
const passing = makePackage('passing', { size: 200_000 });
const pushed = makePackage('pushed', { size: 50_000 });

async function upstreamOf(t: Parameters<typeof startUpstream>[0]): Promise<TestUpstream> {
  const upstream = await startUpstream(t);
  for (const one of [held, passing]) {
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
  }
  return upstream;
}

async function disk(t: Owner): Promise<string> {
  const mounted = join(await temporaryFolder(t, 'disk'), 'disk');
  await mkdir(mounted);
  await output('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', mounted]);
  defer(t, () => output('umount', [mounted]));
  return mounted;
}

async function pull(url: string, one: typeof held): Promise<void> {
  const narInfo = await get(url, one.narInfoPath);
  assert.equal(narInfo.status, 200);
  const reply = await get(url, `/${field(narInfo.text, 'URL')}`);
  assert.ok(reply.complete && reply.body.equals(one.file));
}

test('read-only: hits go on, misses pass through, uploads are refused before their body; then all is as before', {
  skip: needRoot('mount'),
}, async (t) => {
  const mounted = await disk(t);
  const upstream = await upstreamOf(t);
  const config = `[[upstreams]]\nurl = "${upstream.url}"\n`;
  const service = await startService(t, { config, dir: join(mounted, 'cache') });
  await push(service.url, held);
  await output('mount', ['-o', 'remount,ro', mounted]);
  await pull(service.url, held);
  await pull(service.url, passing);
  for (const [path, body] of [
    [pushed.narPath, pushed.file],
    [pushed.narInfoPath, pushed.narInfo],
  ] as const) {
    const refused = await put(service.url, path, body, { expect: '100-continue' });
    assert.equal(refused.status, 507, path);
  }
  assert.equal((await service.wholeLog()).match(/ warn PUT /g)?.length, 1, 'one line says why');
  await output('mount', ['-o', 'remount,rw', mounted]);
  await push(service.url, pushed);
  await pull(service.url, pushed);
  assert.equal(await service.stop(), 0);
});

test('what is damaged on a read-only disk is had from an upstream, and set aside once that can be done', {
  skip: needRoot('mount'),
}, async (t) => {
  const mounted = await disk(t);
  const upstream = await upstreamOf(t);
  const dir = join(mounted, 'cache');
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n`, dir });
  await pull(service.url, held);
  // Only then is certainly kept what a client has got.
  assert.equal(await service.stop(), 0);
  const files = [held.narInfoPath, held.narPath].map((path) => fileOf(dir, idOf(path)));
  for (const file of files) {
    const bytes = await readFile(file);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 10) ^ 1, bytes.length - 10);
    await writeFile(file, bytes);
  }
  await output('mount', ['-o', 'remount,ro', mounted]);
  const config = `[[upstreams]]\nurl = "${upstream.url}"\n`;
  for (const args of [['verify'], ['verify', '--repair']]) {
    const { code, stdout } = await (await commandsOn(t, dir, config)).run(...args);
    assert.equal(code, 3, stdout);
    assert.equal(stdout.match(/^damaged: .*; it stays, as it can't be moved: EROFS/gm)?.length, 2, stdout);
    assert.match(stdout, /^checked 2 objects, .*, 2 damaged\n$/m);
  }
  const again = await startService(t, { config, dir });
  for (let round = 0; round < 3; round++) await pull(again.url, held);
  assert.equal(again.log().match(/ warn .* is damaged /g)?.length, 2, 'a line for each of the two files');
  await output('mount', ['-o', 'remount,rw', mounted]);
  await pull(again.url, held);
  assert.equal(
    (await readdir(join(dir, 'quarantine'))).filter((name) => !name.endsWith('.reason')).length,
    2,
  );
  assert.equal(await again.stop(), 0);
  await upstream.down();
  const alone = await startService(t, { config, dir });
  await pull(alone.url, held);
});

test('a folder that is removed under the service is made again, and filled again', async (t) => {
  const upstream = await upstreamOf(t);
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n` });
  await pull(service.url, held);
  // What has just been answered may still be on its way into the folder.
  await rm(service.dir, { recursive: true, maxRetries: 10 });
  await push(service.url, pushed);
  await pull(service.url, pushed);
  await pull(service.url, held);
  await pull(service.url, passing);
  assert.equal(await service.stop(), 0);
});

test('a folder that takes no new names is seen before the body of an upload, also where tmp takes some', {
  skip: needRoot('mount'),
}, async (t) => {
  const mounted = await disk(t);
  const service = await startService(t, { dir: join(mounted, 'cache') });
  const tmp = join(service.dir, 'tmp');
  await output('mount', ['-t', 'tmpfs', 'tmpfs', tmp]);
  defer(t, () => output('umount', [tmp]));
  await output('mount', ['-o', 'remount,ro', mounted]);
  for (const _ of [1, 2]) {
    const refused = await put(service.url, pushed.narPath, pushed.file, { expect: '100-continue' });
    assert.equal(refused.status, 507);
  }
  assert.equal((await service.wholeLog()).match(/ warn PUT /g)?.length, 1, 'one line says why');
});

test('while a file stands in the place of the folder all passes through, and a line of each kind says why', async (t) => {
  const upstream = await upstreamOf(t);
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n` });
  await push(service.url, pushed);
  const away = `${service.dir}.away`;
  await rename(service.dir, away);
  await writeFile(service.dir, '');
  for (const one of [held, passing, held, passing]) await pull(service.url, one);
  assert.equal((await put(service.url, pushed.narPath, pushed.file)).status, 507);
  // The count after a start may fall into that time.
  const lines = ((await service.wholeLog()).match(/ warn .*/g) ?? []).filter(
    (line) => !line.includes('be counted'),
  );
  assert.ok(lines.length <= 4, lines.join('\n'));
  await rm(service.dir);
  await rename(away, service.dir);
  await pull(service.url, pushed);
  await push(service.url, held);
  assert.equal(await service.stop(), 0);
});
