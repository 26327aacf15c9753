// Beginnings of downloads, kept from one start to another: as few, as young and as well known as they must be.
import assert from 'node:assert/strict';
import fs, { mkdir, readdir, readFile, rename, truncate, utimes, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { writing } from '../../../lib/disk/writing.ts';
import { Beginnings } from '../../../lib/store/folder/beginnings.ts';
import { FolderScratch } from '../../../lib/store/folder/scratch.ts';
import { Tally } from '../../../lib/store/folder/tally.ts';
import { OWN } from '../../../lib/store/folder/writer.ts';
import type { Beginning } from '../../../lib/store/scratch.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';

const BODY = Buffer.from('the beginning of something larger');
const DAY_MS = 24 * 3_600_000;
const ONE: Beginning = { path: '/nar/a.nar', size: 1000, sha256: 'ab'.repeat(32), length: BODY.length };
const { length: _, ...WANTED } = ONE;

async function setUp(t: Owner): Promise<{ scratch: FolderScratch; folder: string; partial: string }> {
  const folder = join(await temporaryFolder(t), 'cache');
  const scratch = new FolderScratch(folder, new Tally(), () => {});
  await scratch.prepare(false);
  return { scratch, folder, partial: join(folder, 'partial') };
}

async function keep(scratch: FolderScratch, beginning: Beginning): Promise<void> {
  const spool = scratch.spool();
  await spool.write(BODY, 0);
  await scratch.keepBeginning(spool, beginning);
  await spool.close();
}

test('what is kept is taken once, as far as it had come', async (t) => {
  const { scratch, partial } = await setUp(t);
  await keep(scratch, { ...ONE, length: 13 });
  await scratch.prepare(false);
  const taken = await scratch.takeBeginning(WANTED);
  assert.equal(taken?.length, 13);
  const buffer = Buffer.alloc(13);
  assert.equal(await taken?.spool.read(buffer, 0), 13);
  assert.ok(buffer.equals(BODY.subarray(0, 13)));
  await taken?.spool.close();
  assert.equal(await scratch.takeBeginning(WANTED), undefined);
  assert.deepEqual(await readdir(partial), []);
});

test('the beginning of another file, or no more of it than is there, is not taken for it', async (t) => {
  const { scratch, partial } = await setUp(t);
  for (const other of [{ sha256: 'cd'.repeat(32) }, { size: 1001 }]) {
    await keep(scratch, ONE);
    assert.equal(await scratch.takeBeginning({ ...WANTED, ...other }), undefined, JSON.stringify(other));
    assert.deepEqual(await readdir(partial), []);
  }
  for (const [bytes, length] of [
    [1024 + 5, 5],
    [1024, undefined],
    [100, undefined],
  ] as const) {
    await keep(scratch, ONE);
    await truncate(join(partial, idOf(ONE.path)), bytes);
    const taken = await scratch.takeBeginning(WANTED);
    assert.equal(taken?.length, length, `cut to ${bytes} bytes`);
    await taken?.spool.close();
  }
});

test('a start keeps the newest of the last week, and no more than 32', async (t) => {
  const { scratch, partial } = await setUp(t);
  await mkdir(partial);
  for (let day = 0; day < 10; day++) {
    for (const i of [0, 1, 2, 3, 4]) {
      const file = join(partial, `${day}-${i}`);
      await writeFile(file, '');
      const used = new Date(Date.now() - (day + 0.1) * DAY_MS);
      await utimes(file, used, used);
    }
  }
  await scratch.prepare(false);
  const left = (await readdir(partial)).sort();
  assert.equal(left.length, 32);
  assert.deepEqual([left[0], left.at(-1)?.slice(0, 1)], ['0-0', '6']);
  for (const name of left.slice(2)) {
    const old = new Date(Date.now() - 8 * DAY_MS);
    await utimes(join(partial, name), old, old);
  }
  await scratch.prepare(false);
  assert.deepEqual((await readdir(partial)).sort(), ['0-0', '0-1']);
});

test('what a killed service has noted in a temporary file is kept, and only that', async (t) => {
  const { scratch, folder, partial } = await setUp(t);
  const spool = scratch.spool();
  await spool.write(BODY, 0);
  await scratch.noteBeginning(spool, ONE);
  const tmp = join(folder, 'tmp');
  const [name = ''] = await readdir(tmp);
  const bytes = await readFile(join(tmp, name));
  await spool.close();
  await writeFile(join(tmp, 'noted'), bytes);
  await writeFile(join(tmp, 'other'), Buffer.alloc(2000, ' '));
  await scratch.prepare(false);
  assert.deepEqual([await readdir(tmp), await readdir(partial)], [[], [idOf(ONE.path)]]);
  const taken = await scratch.takeBeginning(WANTED);
  assert.equal(taken?.length, BODY.length);
  await taken?.spool.close();
});

test('a beginning that can not be opened is none, and goes', async (t) => {
  const { scratch, partial } = await setUp(t);
  await keep(scratch, ONE);
  const own = fs.open;
  const opening = t.mock.method(fs, 'open', async (...args: Parameters<typeof own>) => {
    if (args[1] === 'r+') throw Object.assign(new Error('EACCES'), { code: 'EACCES' });
    return own(...args);
  });
  syncBuiltinESMExports();
  try {
    assert.equal(await scratch.takeBeginning(WANTED), undefined);
  } finally {
    opening.mock.restore();
    syncBuiltinESMExports();
  }
  assert.deepEqual([await readdir(partial), await readdir(join(partial, '..', 'tmp'))], [[], []]);
  await scratch.idle();
});

test('what is too much goes when the disk has a turn for it', async (t) => {
  const { scratch, partial } = await setUp(t);
  await keep(scratch, ONE);
  const [file = ''] = await readdir(partial);
  const then = new Date(Date.now() - 10 * DAY_MS);
  await utimes(join(partial, file), then, then);
  let goOn = () => {};
  const busy = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const others = Array.from({ length: 8 }, () => writing(() => busy));
  const pruned = new Beginnings(partial, () => {}).prune();
  await delay(100);
  assert.deepEqual(await readdir(partial), [file]);
  goOn();
  await Promise.all([...others, pruned]);
  assert.deepEqual(await readdir(partial), []);
});

test('a beginning of a process that is gone is taken over, whoever has its number now', async (t) => {
  const { scratch, folder, partial } = await setUp(t);
  const tmp = join(folder, 'tmp');
  const [, , where] = OWN.split('.');
  const hex = 'ab'.repeat(12);
  const names = [
    // Of an earlier version; the number is that of a program that has nothing to do with it.
    `${process.ppid}-${hex}`,
    `${process.ppid}.1.${where}-${hex}`,
    // Of another container, or from before the machine was started anew.
    `1.1.${'0'.repeat(12)}-${hex}`,
  ];
  for (const [i, name] of names.entries()) {
    const one = { ...ONE, path: `/nar/${i}.nar` };
    const spool = scratch.spool();
    await spool.write(BODY, 0);
    await scratch.noteBeginning(spool, one);
    const [file = ''] = (await readdir(tmp)).filter((other) => !names.includes(other));
    await rename(join(tmp, file), join(tmp, name));
    await spool.close();
  }
  await scratch.prepare(true);
  assert.deepEqual(await readdir(tmp), []);
  assert.equal((await readdir(partial)).length, names.length);
  for (const i of names.keys()) {
    const taken = await scratch.takeBeginning({ ...WANTED, path: `/nar/${i}.nar` });
    assert.equal(taken?.length, BODY.length);
    await taken?.spool.close();
  }
});

test('no more are kept while it runs than over a start', async (t) => {
  const { scratch, partial } = await setUp(t);
  for (let i = 0; i < 34; i++) await keep(scratch, { ...ONE, path: `/nar/${i}.nar` });
  assert.equal((await readdir(partial)).length, 32);
});

test('they all go when the disk is full', async (t) => {
  const folder = join(await temporaryFolder(t), 'partial');
  const partials = new Beginnings(folder, () => {});
  await partials.clear();
  await mkdir(folder);
  await writeFile(join(folder, 'one'), BODY);
  await partials.clear();
  assert.deepEqual(await readdir(folder), []);
});
