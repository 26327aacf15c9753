import assert from 'node:assert/strict';
import { rename, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { logSink } from '../../../lib/event-log.ts';
import { openFolder } from '../../../lib/store/folder/folder.ts';
import { Holdings, idOf } from '../../fixtures/holdings.ts';
import { makePackage } from '../../fixtures/nar.ts';

test('what can not be listed, or is no object, is told of, and the others are listed', async (t) => {
  const holdings = await Holdings.create(t);
  const [one, two] = [makePackage('one'), makePackage('two')];
  for (const each of [one, two]) await holdings.package(each, 'push');
  const damaged = holdings.file(one.narPath);
  await holdings.edit(one.narPath, (bytes) => Buffer.concat([Buffer.from('x'), bytes]));
  // A link to itself can be read by nobody, root included.
  const shelf = join(holdings.dir, await freeShelf(holdings));
  await symlink(shelf, shelf);
  const loop = join(dirname(damaged), idOf('loop'));
  await symlink(loop, loop);
  const warnings: string[] = [];
  const log = { info: () => {}, warn: (message: string) => warnings.push(message), error: () => {} };
  const paths: (string | undefined)[] = [];
  for await (const { path } of openFolder(holdings.dir, logSink(log)).store.list()) paths.push(path);
  assert.deepEqual(paths.sort(), [one.narInfoPath, two.narInfoPath, two.narPath].sort());
  assert.equal(warnings.length, 3);
  assert.ok(warnings.some((line) => line.startsWith(`${loop} `) && line.includes('ELOOP')));
  assert.ok(warnings.some((line) => line.startsWith(`${shelf} can't be listed: ELOOP`)));
  assert.ok(warnings.some((line) => line.startsWith(`${damaged} is not a cache object: `)));
});

test('a file that vanishes while the folder is listed is no object, and no reason to complain', async (t) => {
  const holdings = await Holdings.create(t);
  for (const name of ['one', 'two', 'three']) await holdings.package(makePackage(name), 'push');
  const warnings: string[] = [];
  const log = { info: () => {}, warn: (message: string) => warnings.push(message), error: () => {} };
  let count = 0;
  for await (const { path = '' } of openFolder(holdings.dir, logSink(log)).store.list()) {
    if (count++ > 0) continue;
    for (const name of ['one', 'two', 'three'])
      for (const other of [makePackage(name).narPath, makePackage(name).narInfoPath])
        if (other !== path) await rename(holdings.file(other), join(holdings.dir, 'gone'));
  }
  assert.deepEqual([count, warnings], [1, []]);
});

/** A folder of the fan-out that is not there. */
async function freeShelf(holdings: Holdings): Promise<string> {
  const taken = new Set((await holdings.ids()).map((id) => id.slice(0, 2)));
  const all = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));
  return all.find((one) => !taken.has(one)) as string;
}
