// What `rm` need not look at in a large folder, and that it says when it must look at everything all the same.
import assert from 'node:assert/strict';
import { rm as removeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isStored } from '../fixtures/aged.ts';
import { push, put } from '../fixtures/client.ts';
import { commandsOn } from '../fixtures/command.ts';
import { makePackage, type Package } from '../fixtures/nar.ts';
import { seemLarge } from '../fixtures/noting.ts';
import { startService } from '../fixtures/service.ts';

const LOOKS = /looking at all objects/;
/** Three paths with the same NAR, and some that are taken out before, after and between. */
const [one, same, late] = ['one', 'same', 'late'].map((name) => makePackage(name, { seed: 'one' })) as [
  Package,
  Package,
  Package,
];
const [first, second, third, fourth, fifth] = Array.from({ length: 5 }, (_, i) =>
  makePackage(`other-${i}`),
) as [Package, Package, Package, Package, Package];

test('rm looks at everything once; after that a NAR goes with its last narinfo, whoever put that and when', async (t) => {
  const service = await startService(t);
  const { dir, url } = service;
  await seemLarge(dir);
  for (const each of [one, same, first, second, third, fourth, fifth]) await push(url, each);
  const commands = await commandsOn(t, dir);
  const remove = async ({ storePath }: Package) => {
    const said = await commands.run('rm', storePath);
    assert.equal(said.code, 0, said.stderr);
    return said;
  };
  const said = (await remove(first)).stderr;
  assert.match(said, LOOKS);
  assert.equal(said.match(new RegExp(LOOKS, 'g'))?.length, 1, 'it is said once');
  // Put since somebody looked.
  assert.equal((await put(url, late.narInfoPath, late.narInfo)).status, 200);
  for (const each of [one, same]) {
    const { stderr, stdout } = await remove(each);
    assert.doesNotMatch(stderr, LOOKS);
    assert.match(stdout, /its NAR stays/);
    assert.ok(await isStored(dir, one.narPath));
  }
  assert.match((await remove(late)).stdout, /removed its NAR/);
  assert.equal(await isStored(dir, one.narPath), false);

  // The same without the service, and after it was killed.
  assert.equal(await service.stop(), 0);
  assert.doesNotMatch((await remove(second)).stderr, LOOKS);
  const next = await startService(t, { dir });
  assert.doesNotMatch((await remove(third)).stderr, LOOKS);
  await next.kill();
  assert.doesNotMatch((await remove(fourth)).stderr, LOOKS);
  // The notes may be lost at any time.
  await removeFile(join(dir, 'notes'));
  const { stderr, stdout } = await remove(fifth);
  assert.match(stderr, LOOKS);
  assert.match(stdout, /removed its NAR/);
});

test('in a small folder it says nothing of that, and leaves no notes', async (t) => {
  const { dir, url } = await startService(t);
  await push(url, one);
  const { code, stderr } = await (await commandsOn(t, dir)).run('rm', one.storePath);
  assert.equal(code, 0);
  assert.doesNotMatch(stderr, LOOKS);
  await assert.rejects(removeFile(join(dir, 'notes')), { code: 'ENOENT' });
});
