// One service a folder, also from one container to another, and on disks that lack what that takes.
import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tellService } from '../../../lib/store/folder/hold.ts';
import { defer } from '../../fixtures/defer.ts';
import { cacheFolder, other, take } from '../../fixtures/holds.ts';
import { until } from '../../fixtures/patience.ts';
import { run } from '../../fixtures/run.ts';
import { exfatDisk, needExfat } from '../fixtures/exfat-disk.ts';
import { boundDisk } from '../fixtures/hanging-disk.ts';
import { needRoot } from '../fixtures/need-root.ts';

test('it holds from one container to another, whose processes have the same numbers', {
  skip: needRoot('unshare'),
}, async (t) => {
  const folder = await cacheFolder(t);
  const kill = await other(t, folder, 'unshare', '--pid', '--net', '--uts', '--fork', '--kill-child');
  await assert.rejects(take(t, folder), /that of the service of process 1 on /);
  await kill();
  await until(
    async () => (await take(t, folder).catch(() => undefined))?.hold.isSole === true,
    'it to be free',
  );
});

test('where a folder is read-only it is said that nobody can tell, and no more', {
  skip: needRoot('mount'),
}, async (t) => {
  const folder = await cacheFolder(t);
  await run('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', folder]);
  defer(t, () => run('umount', [folder]));
  const { hold, log } = await take(t, folder);
  assert.ok(!hold.isSole);
  assert.deepEqual(log, []);
  await hold.settle();
  assert.match(
    log.join(),
    /^warn whether another service has the cache folder .* can't be told \(.*EROFS.*\): see to it/,
  );
});

test('so it is on a disk that takes no sockets', { skip: needExfat() }, async (t) => {
  const folder = await exfatDisk(t);
  const { hold, log } = await take(t, folder);
  await hold.settle();
  assert.ok(!hold.isSole);
  assert.match(log.join(), /can't be told/);
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
  assert.equal(await tellService(folder), false);
});

test('it holds where a file with two names is two files', { skip: needRoot('bindfs') }, async (t) => {
  const { dir } = await boundDisk(t);
  await mkdir(dir);
  const first = await take(t, dir);
  assert.ok(first.hold.isSole);
  assert.deepEqual(await readdir(join(dir, 'tmp')), []);
  await assert.rejects(take(t, dir), /one service a folder/);
  assert.equal(await tellService(dir), true);
  assert.equal(first.forgotten(), 1);
  await first.hold.release();
  const kill = await other(t, dir);
  await assert.rejects(take(t, dir), /one service a folder/);
  await kill();
  assert.ok((await take(t, dir)).hold.isSole);
});
