import assert from 'node:assert/strict';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { Pins } from '../../../lib/store/folder/pins.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { output } from '../../fixtures/run.ts';

const [ONE, TWO] = ['/nix/store/one', '/nix/store/two'];

test('a pin is a file of its name; set again it has another path, removed it is gone', async (t) => {
  const folder = await temporaryFolder(t);
  const pins = new Pins(folder);
  assert.deepEqual(await pins.list(), []);
  await pins.set({ name: 'b', storePath: ONE });
  await pins.set({ name: 'a', storePath: ONE });
  await pins.set({ name: 'b', storePath: TWO });
  assert.deepEqual(await readdir(join(folder, 'pins')), ['a', 'b']);
  const both = [
    { name: 'a', storePath: ONE },
    { name: 'b', storePath: TWO },
  ];
  assert.deepEqual(await new Pins(folder).list(), both);
  assert.equal(await pins.remove('b'), true);
  assert.equal(await pins.remove('b'), false);
  assert.deepEqual(await pins.list(), both.slice(0, 1));
});

test('a name that is no file of that folder is refused, and nothing is written or removed', async (t) => {
  const folder = await temporaryFolder(t);
  const pins = new Pins(folder);
  await writeFile(join(folder, 'kept'), '');
  for (const name of [
    '',
    '.',
    '..',
    '../kept',
    '.hidden',
    'a/b',
    'a b',
    'a\n',
    'a\0',
    '-a',
    'x'.repeat(245),
  ]) {
    await assert.rejects(pins.set({ name, storePath: ONE }), (error) => isCacheError(error, 'config'), name);
    assert.equal(await pins.remove(name), false, name);
  }
  assert.deepEqual(await readdir(folder), ['kept']);
  // As long as a store path's own name may be.
  await pins.set({ name: `${'0'.repeat(32)}-${'x'.repeat(211)}`, storePath: ONE });
  assert.equal((await pins.list()).length, 1);
});

test('several may set the same pin at once', async (t) => {
  const folder = await temporaryFolder(t);
  const setOne = () => new Pins(folder).set({ name: 'a', storePath: ONE });
  await Promise.all(Array.from({ length: 20 }, setOne));
  assert.deepEqual(await new Pins(folder).list(), [{ name: 'a', storePath: ONE }]);
  assert.deepEqual(await readdir(join(folder, 'pins')), ['a']);
});

test('what a crash left half-written is no pin; pins that can not be read are an error and not none', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'pins'));
  await writeFile(join(folder, 'pins', '.a'), ONE);
  assert.deepEqual(await new Pins(folder).list(), []);
  await mkdir(join(folder, 'pins', 'a'));
  await output('mkfifo', [join(folder, 'pins', 'pipe')]);
  assert.deepEqual(await new Pins(folder).list(), [], 'nor is what is no file');
  const loop = join(folder, 'pins', 'loop');
  await symlink(loop, loop);
  await assert.rejects(new Pins(folder).list(), (error) => {
    assert.ok(isCacheError(error, 'storage'));
    return error.message.startsWith(
      `can't read ${loop} (nothing is collected until this pin can be read, or`,
    );
  });
  const file = await temporaryFolder(t);
  await writeFile(join(file, 'pins'), '');
  await assert.rejects(new Pins(file).list(), (error) => isCacheError(error, 'storage'));
});
