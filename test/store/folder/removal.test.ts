import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { fileInTrash, placeOf } from '../../../lib/store/folder/files.ts';
import { putBackSync } from '../../../lib/store/folder/put-back.ts';
import { removeNar, removeUnits } from '../../../lib/store/folder/removal.ts';
import type { Removal } from '../../../lib/store/plan.ts';
import { Holdings, idOf } from '../../fixtures/holdings.ts';
import { makePackage, type Package } from '../../fixtures/nar.ts';

const ORIGIN = 'https://cache.example.org';
const one = makePackage('one');

async function planned(holdings: Holdings, path: string, kind: Removal['kind']): Promise<Removal> {
  const old = new Date(Date.now() - 9e9);
  await utimes(holdings.file(path), old, old);
  const { mtimeMs, size } = await stat(holdings.file(path));
  return { place: placeOf(idOf(path)), id: idOf(path), kind, bytes: size, usedMs: mtimeMs };
}

/** A thread that notes a use of the file as soon as it is there. */
async function userOf(file: string): Promise<Worker> {
  const user = new Worker(
    `const { existsSync, utimesSync } = require('node:fs');
    require('node:worker_threads').parentPort.postMessage('ready');
    while (!existsSync(${JSON.stringify(file)}));
    utimesSync(${JSON.stringify(file)}, new Date(), new Date());`,
    { eval: true },
  );
  await new Promise((ready) => user.once('message', ready));
  return user;
}

test('a path goes, narinfo and NAR; what has been used since, or is gone, is not counted', async (t) => {
  const holdings = await Holdings.create(t);
  const [used, gone] = [makePackage('used'), makePackage('gone')];
  for (const each of [one, used, gone]) await holdings.package(each, ORIGIN);
  const unit = async (each: typeof one) => [
    await planned(holdings, each.narInfoPath, 'narinfo'),
    await planned(holdings, each.narPath, 'nar'),
  ];
  const units = [await unit(one), await unit(used), await unit(gone)];
  await utimes(holdings.file(used.narPath), new Date(), new Date());
  for (const path of [gone.narInfoPath, gone.narPath]) await rm(holdings.file(path));
  const bytes = units[0]?.reduce((sum, part) => sum + part.bytes, 0);
  assert.deepEqual(removeUnits(holdings.dir, units), { objects: 2, bytes });
  assert.deepEqual((await holdings.ids()).sort(), [idOf(used.narInfoPath), idOf(used.narPath)].sort());
});

test('a NAR stays that others need too who have been used since, and so do they if it was used', async (t) => {
  const holdings = await Holdings.create(t);
  const [a, b] = ['a', 'b'].map((name) => makePackage(name, { seed: 'same' })) as [Package, Package];
  for (const each of [a, b]) await holdings.package(each, ORIGIN);
  for (const touched of [a.narInfoPath, a.narPath]) {
    const nar = await planned(holdings, a.narPath, 'nar');
    const [infoA, infoB] = [
      await planned(holdings, a.narInfoPath, 'narinfo'),
      await planned(holdings, b.narInfoPath, 'narinfo'),
    ];
    await utimes(holdings.file(touched), new Date(), new Date());
    // Also where they are dealt with one after the other.
    const staying = new Set<string>();
    const nothing = { objects: 0, bytes: 0 };
    assert.deepEqual(removeUnits(holdings.dir, [[{ ...infoA, sharedNar: nar }]], staying), nothing);
    assert.deepEqual(removeUnits(holdings.dir, [[infoB, nar]], staying), nothing);
  }
});

test('a NAR that somebody uses while it is out of its place is put back, whole', async (t) => {
  const holdings = await Holdings.create(t);
  await holdings.nar(one, ORIGIN);
  const nar = await planned(holdings, one.narPath, 'nar');
  const before = await readFile(holdings.file(one.narPath));
  const user = await userOf(join(holdings.dir, 'trash', nar.id));
  assert.deepEqual(removeUnits(holdings.dir, [[nar]]), { objects: 0, bytes: 0 });
  await user.terminate();
  assert.ok((await readFile(holdings.file(one.narPath))).equals(before));
  assert.deepEqual(await readdir(join(holdings.dir, 'trash')), []);
});

test('one of the Go service is in the trash under a name that leads back to its place', async (t) => {
  const holdings = await Holdings.create(t);
  await holdings.flat(one.narPath, one.file);
  const id = idOf(one.narPath);
  const stays = async () => {
    assert.deepEqual(
      readdirSync(join(holdings.dir, 'trash')).map((name) => fileInTrash(holdings.dir, name)),
      [join(holdings.dir, id)],
    );
    return true;
  };
  await removeNar(holdings.dir, id, stays);
  assert.equal(fileInTrash(holdings.dir, 'x'), undefined);
  assert.equal(fileInTrash(holdings.dir, id), holdings.file(one.narPath));
});

test('one NAR goes, also one of the Go service, unless it turns out to be needed', async (t) => {
  const holdings = await Holdings.create(t);
  const id = idOf(one.narPath);
  for (const put of [() => holdings.nar(one, ORIGIN), () => holdings.flat(one.narPath, one.file)]) {
    await put();
    const [name = ''] = (await readdir(holdings.dir, { recursive: true })).filter((each) =>
      each.endsWith(id),
    );
    const { size } = await stat(join(holdings.dir, name));
    assert.equal(await removeNar(holdings.dir, id, async () => true), undefined);
    assert.equal((await stat(join(holdings.dir, name))).size, size, 'in its place');
    assert.equal(await removeNar(holdings.dir, id, async () => false), size);
    assert.deepEqual(await holdings.ids(), []);
  }
  assert.equal(await removeNar(holdings.dir, id, async () => false), undefined);
});

test('one NAR goes also if a service that starts puts it back meanwhile', async (t) => {
  const holdings = await Holdings.create(t);
  await holdings.nar(one, 'push');
  const id = idOf(one.narPath);
  const bytes = (await stat(holdings.file(one.narPath))).size;
  let looks = 0;
  const needed = async () => {
    if (looks++ === 0) putBackSync(join(holdings.dir, 'trash', id), holdings.file(one.narPath));
    return false;
  };
  assert.equal(await removeNar(holdings.dir, id, needed), bytes);
  assert.equal(looks, 2, 'and it is looked again whether it is needed');
  assert.deepEqual(await holdings.ids(), []);
  assert.deepEqual(await readdir(join(holdings.dir, 'trash')), []);
});
