// The token that the first start makes, where the disk takes no writes at that moment, or the folder is somebody else's.
import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, push, put } from '../../fixtures/client.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { output } from '../../fixtures/run.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { basic } from '../../fixtures/tokens.ts';
import { needRoot } from '../fixtures/need-root.ts';

const MIB = 2 ** 20;
const held = makePackage('held', { size: 100_000 });
const pushed = makePackage('pushed', { size: 50_000 });

/** A filesystem of 8 MiB with a cache in it that has been used, but never had a token. */
async function usedDisk(t: Owner): Promise<{ mounted: string; dir: string }> {
  const mounted = join(await temporaryFolder(t, 'disk'), 'disk');
  await mkdir(mounted);
  await output('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mounted]);
  defer(t, () => output('umount', [mounted]));
  const dir = join(mounted, 'cache');
  const service = await startService(t, { dir });
  await push(service.url, held);
  await service.stop();
  return { mounted, dir };
}

async function assertNoToken(service: Service): Promise<void> {
  for (const headers of [{}, basic('x'.repeat(48))]) {
    const refused = await put(service.url, pushed.narPath, pushed.file, {
      ...headers,
      expect: '100-continue',
    });
    assert.equal(refused.status, 401);
    assert.match(refused.text, /no token for pushing now: its folder's push\.netrc can't be made or read/);
  }
  assert.equal((await get(service.url, held.narInfoPath)).status, 200, 'hits go on');
}

/** The folder takes writes again: nothing else need be done. */
async function assertTokenComes(service: Service): Promise<void> {
  await service.logged(/ info pushing takes the token in /);
  const text = await readFile(join(service.dir, 'push.netrc'), 'utf8');
  const headers = basic(/password (\w{48})/.exec(text)?.[1] ?? '');
  assert.equal((await put(service.url, pushed.narPath, pushed.file, headers)).status, 200);
  assert.equal((await service.wholeLog()).match(/ warn uploads are refused/g)?.length, 1, 'said once');
}

test('on a read-only disk there is none, until it takes writes', { skip: needRoot('mount') }, async (t) => {
  const { dir, mounted } = await usedDisk(t);
  await output('mount', ['-o', 'remount,ro', mounted]);
  const service = await startService(t, { dir, closed: true });
  await assertNoToken(service);
  await service.logged(
    / warn uploads are refused, because there is no token for pushing: can't make .*EROFS/,
  );
  await output('mount', ['-o', 'remount,rw', mounted]);
  await assertTokenComes(service);
});

test('on a full disk there is none, and no half of one, until it has room', {
  skip: needRoot('mount'),
}, async (t) => {
  const { dir, mounted } = await usedDisk(t);
  const filler = join(mounted, 'filler');
  await writeFile(filler, Buffer.alloc(8 * MIB)).catch(() => {});
  const service = await startService(t, { dir, closed: true });
  await assertNoToken(service);
  assert.ok(!(await readdir(dir)).includes('push.netrc'));
  await rm(filler);
  await assertTokenComes(service);
});

test('one that the service may not read is said, and used once it may', {
  skip: needRoot('setpriv'),
}, async (t) => {
  const home = await temporaryFolder(t, 'owner');
  await chmod(home, 0o755);
  const dir = join(home, 'cache');
  await mkdir(dir);
  await chown(dir, 65_534, 65_534);
  const file = join(dir, 'push.netrc');
  const text = 'machine localhost login push password 0123456789abcdef\n';
  await writeFile(file, text, { mode: 0o600 });
  const before = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  const service = await startService(t, { home, dir, closed: true, before });
  assert.match(await service.logged(/uploads are refused/), /EACCES/);
  assert.equal((await put(service.url, pushed.narPath, pushed.file)).status, 401);
  await chown(file, 65_534, 65_534);
  await service.logged(/pushing takes the token/);
  const sent = await put(service.url, pushed.narPath, pushed.file, basic('0123456789abcdef'));
  assert.equal(sent.status, 200);
  assert.equal(await readFile(file, 'utf8'), text);
});

test('a service of root gives it to the owner of the folder', { skip: needRoot() }, async (t) => {
  const home = await temporaryFolder(t, 'owner');
  const dir = join(home, 'cache');
  await mkdir(dir);
  await chown(dir, 1234, 2345);
  await startService(t, { dir, closed: true });
  const { uid, gid, mode } = await stat(join(dir, 'push.netrc'));
  assert.deepEqual([uid, gid, mode & 0o7777], [1234, 2345, 0o600]);
});
