// On a disk without hard links everything works as elsewhere: pushes, downloads, collections, restarts.
import assert from 'node:assert/strict';
import { readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { age, fileOf, isStored } from '../../fixtures/aged.ts';
import { get, push, put } from '../../fixtures/client.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { program } from '../../fixtures/project.ts';
import { output } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { exfatDisk, needExfat } from '../fixtures/exfat-disk.ts';

test('push, pull, collect, remove, verify and start again, killed or not, on a disk without hard links', {
  skip: needExfat(),
}, async (t) => {
  const dir = await exfatDisk(t);
  const upstream = await startUpstream(t);
  const config = `[gc]\nmax_age = "50h"\nmin_free = "0 B"\n[[upstreams]]\nurl = "${upstream.url}"\n`;
  let service = await startService(t, { config, dir });
  const command = (...args: string[]) =>
    output(process.execPath, [
      program,
      ...args,
      '--config',
      join(service.home, 'config.toml'),
      '--cache-dir',
      dir,
    ]);
  const pull = async (one: Package) => {
    const { text } = await get(service.url, one.narInfoPath);
    const reply = await get(service.url, `/${field(text, 'URL')}`);
    assert.ok(reply.complete && reply.body.equals(one.file), one.storePath);
  };
  const own = makePackage('own', { size: 100_000 });
  const same = makePackage('same', { size: 100_000 });
  await push(service.url, own);
  // Again, and two at once.
  await push(service.url, own);
  const both = await Promise.all([1, 2].map(() => put(service.url, same.narPath, same.file)));
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200],
  );
  await push(service.url, same);
  const [old, used] = ['old', 'used'].map((name) => makePackage(name, { size: 200_000 })) as [
    Package,
    Package,
  ];
  for (const one of [old, used]) {
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
    await pull(one);
    await until(() => isStored(dir, one.narPath), 'it to be stored');
    await age(dir, one, 100);
  }
  await pull(used);
  await until(async () => (await readdir(join(dir, 'tmp'))).length === 0, 'temporary files to go');
  assert.match(await command('gc'), /\nremoved 2 objects/);
  assert.deepEqual(await readdir(join(dir, 'trash')), []);
  assert.ok((await isStored(dir, used.narPath)) && !(await isStored(dir, old.narPath)));
  for (const one of [own, same, used, old]) await pull(one);
  // As a collection leaves it that is killed.
  await service.kill();
  const file = fileOf(dir, own.narPath);
  await rename(file, join(dir, 'trash', file.slice(-64)));
  service = await startService(t, { config, dir });
  await pull(own);
  assert.deepEqual(await readdir(join(dir, 'trash')), []);
  assert.match(await command('verify'), /\b0 damaged/);
  await writeFile(fileOf(dir, same.narPath), 'damaged');
  assert.equal((await get(service.url, same.narPath)).status, 404);
  await push(service.url, same);
  await pull(same);
  assert.match(await command('rm', same.storePath), /removed its NAR/);
  assert.equal(await service.stop(), 0);
});
