// One service a folder, whoever was there before and however it ended.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { tellService } from '../../../lib/store/folder/hold.ts';
import { defer } from '../../fixtures/defer.ts';
import { cacheFolder, other, take } from '../../fixtures/holds.ts';
import { until } from '../../fixtures/patience.ts';

test('the second one is told who has the folder, and gets it when that ends', async (t) => {
  const folder = await cacheFolder(t);
  const first = await take(t, folder);
  assert.ok(first.hold.isSole);
  await assert.rejects(
    take(t, folder),
    (error) =>
      isCacheError(error, 'startup') &&
      error.message.includes(`${folder} is that of the service of process ${process.pid} on `) &&
      error.message.endsWith(': one service a folder'),
  );
  const second = take(t, folder, 45_000);
  await until(async () => (await readdir(join(folder, 'tmp'))).length === 0, 'the second one to look');
  await first.hold.release();
  const { hold, log } = await second;
  assert.ok(hold.isSole);
  assert.ok(log.length <= 1, log.join());
  for (const line of log)
    assert.match(line, /^info the service of process \d+ on .*; waiting for its end, for at most 45 s$/);
  await hold.release();
  assert.deepEqual(await readdir(folder), ['tmp']);
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('what a process that was killed has left is taken over, by one of those who come', async (t) => {
  const folder = await cacheFolder(t);
  const kill = await other(t, folder);
  await assert.rejects(take(t, folder), /one service a folder/);
  await kill();
  assert.ok((await lstat(join(folder, 'service.sock'))).isSocket());
  const all = await Promise.allSettled(Array.from({ length: 8 }, () => take(t, folder)));
  const taken = all.filter((one) => one.status === 'fulfilled');
  assert.equal(taken.length, 1, 'one has it');
  assert.deepEqual((await readdir(folder)).sort(), ['service.sock', 'tmp']);
  assert.ok(taken[0]?.value.hold.isSole);
  for (const one of all)
    if (one.status === 'rejected') assert.match(String(one.reason), /one service a folder/);
});

test('a folder with a long name, also one that is named from here, is one like any other', async (t) => {
  const folder = join(await cacheFolder(t), 'long'.repeat(40));
  await mkdir(folder);
  const first = await take(t, folder);
  assert.ok(first.hold.isSole);
  assert.deepEqual((await readdir(folder)).sort(), ['service.sock', 'tmp']);
  await assert.rejects(take(t, folder), /one service a folder/);
  assert.equal(await tellService(folder), true);
  assert.equal(first.forgotten(), 1);
  await first.hold.release();
  assert.ok((await take(t, folder)).hold.isSole);
});

test('commands tell the service, and hear whether it knows', async (t) => {
  const folder = await cacheFolder(t);
  assert.equal(await tellService(folder), false, 'one that could not take the folder may be there');
  const { hold, forgotten } = await take(t, folder);
  assert.equal(await tellService(folder), true);
  assert.equal(forgotten(), 1);
  await hold.release();
  const kill = await other(t, folder);
  await kill();
  assert.equal(await tellService(folder), false, 'nobody has heard it');
});

test('whatever somebody says to it, or does not, it goes on', async (t) => {
  const folder = await cacheFolder(t);
  const { forgotten } = await take(t, folder);
  const socket = join(folder, 'service.sock');
  const silent = Array.from({ length: 40 }, () => connect(socket).on('error', () => {}));
  defer(t, () => {
    for (const one of silent) one.destroy();
  });
  for (const text of ['\n', 'nonsense\n', 'x'.repeat(100_000), '\0\xff\n'.repeat(1000)]) {
    const one = connect(socket).on('error', () => {});
    one.resume().end(text);
    await new Promise((resolve) => one.on('close', resolve));
  }
  await assert.rejects(take(t, folder), /one service a folder/, 'also where it takes no more connections');
  for (const one of silent) one.destroy();
  await until(() => tellService(folder), 'it to take connections again');
  assert.equal(forgotten(), 1);
});

test('whoever listens there has the folder, whatever it says', async (t) => {
  for (const [said, expected] of [
    [undefined, 'a service that does not say who it is'],
    ['x'.repeat(10_000), 'a service that does not say who it is'],
    ['{"pid":1}\n', 'a service that does not say who it is'],
    [
      '{"pid":7,"host":"h\\u001b[1m","since":"today"}\n',
      'the service of process 7 on h\\x1b[1m, there since today',
    ],
  ] as const) {
    const folder = await cacheFolder(t);
    const server = createServer((socket) => {
      socket.on('error', () => {});
      if (said !== undefined) socket.write(said);
    });
    server.listen(join(folder, 'service.sock'));
    await once(server, 'listening');
    defer(t, () => server.close());
    await assert.rejects(take(t, folder), (error: Error) =>
      error.message.includes(` is that of ${expected}: `),
    );
  }
});

test('a file of that name that is no socket is not in the way', async (t) => {
  const folder = await cacheFolder(t);
  await writeFile(join(folder, 'service.sock'), 'what is this?');
  assert.ok((await take(t, folder)).hold.isSole);
});

test('what was in the way at first is tried again', async (t) => {
  const folder = await cacheFolder(t);
  await writeFile(join(folder, 'tmp'), 'no folder');
  const { hold, log } = await take(t, folder);
  assert.ok(!hold.isSole);
  await rm(join(folder, 'tmp'));
  await hold.settle();
  assert.ok(hold.isSole);
  assert.deepEqual(log, []);
});

test('another folder in its place is taken too; a service that has come there by then is told of', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const folder = await cacheFolder(t);
  const { hold, log } = await take(t, folder);
  await rename(folder, `${folder}-old`);
  await mkdir(folder);
  t.mock.timers.tick(10_000);
  await until(async () => (await readdir(folder)).includes('service.sock'), 'the new folder to be taken');
  await until(async () => (await readdir(join(folder, 'tmp'))).length === 0, 'that to be over');
  await assert.rejects(take(t, folder), /one service a folder/);
  await rename(folder, `${folder}-older`);
  await mkdir(folder);
  const second = await take(t, folder);
  t.mock.timers.tick(10_000);
  await until(() => log.length > 0, 'a word of that');
  assert.match(
    log.join(),
    /^error the service of process \d+ .* has the cache folder .* now, too: end one of the two$/,
  );
  assert.ok(!hold.isSole && second.hold.isSole);
});

test('a folder that can not be made is no matter of this', async (t) => {
  const folder = await cacheFolder(t);
  await writeFile(join(folder, 'file'), '');
  const { hold } = await take(t, join(folder, 'file', 'cache'));
  assert.ok(!hold.isSole);
  await chmod(folder, 0o700);
});
