import assert from 'node:assert/strict';
import { open, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { writing } from '../../../lib/disk/writing.ts';
import { isStale, noteUse } from '../../../lib/store/folder/last-use.ts';
import { TOUCH_INTERVAL_MS } from '../../../lib/store/store.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';

const OLD = 1_000_000;

async function oldFile(t: Owner): Promise<string> {
  const file = join(await temporaryFolder(t), 'file');
  await writeFile(file, '');
  await utimes(file, OLD, OLD);
  return file;
}

const isNew = async (file: string) => Math.abs((await stat(file)).mtimeMs - Date.now()) < 60_000;

test('a use is to be noted where what is noted is ten minutes old, or of a time to come', () => {
  assert.equal(TOUCH_INTERVAL_MS, 600_000);
  const now = Date.now();
  for (const [ms, expected] of [
    [now, false],
    [now - 590_000, false],
    [now - 600_000, true],
    [now + 590_000, false],
    [now + 620_000, true],
  ] as const)
    assert.equal(isStale(ms), expected, `${ms - now}`);
});

test('a use is noted in the file, also by a handle while it is moved, and again', async (t) => {
  const file = await oldFile(t);
  await noteUse(file);
  assert.ok(await isNew(file));
  await utimes(file, OLD, OLD);
  await noteUse(file);
  assert.ok(await isNew(file), 'the second time too');
  await utimes(file, OLD, OLD);
  const handle = await open(file, 'r');
  defer(t, () => handle.close());
  await rename(file, `${file}-moved`);
  await noteUse(file, handle);
  assert.ok(await isNew(`${file}-moved`));
});

test('what can not be noted is no failure, and does not stand in the way of a later note', async (t) => {
  const file = await oldFile(t);
  await rename(file, `${file}-moved`);
  await noteUse(file);
  await rename(`${file}-moved`, file);
  await noteUse(file);
  assert.ok(await isNew(file));
});

test('while the disk hangs, uses wait: one of each file, of 500 files; the rest are not noted', async (t) => {
  const file = await oldFile(t);
  let goOn = () => {};
  const hang = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const writes = Array.from({ length: 64 }, () => writing(() => hang));
  const first = noteUse(file);
  let again = false;
  await noteUse(file).then(() => {
    again = true;
  });
  assert.ok(again, 'it waits already');
  const others = Array.from({ length: 499 }, (_, n) => noteUse(`${file}-${n}`));
  await noteUse(`${file}-one-more`);
  let settled = 0;
  for (const one of others) one.then(() => settled++);
  for (let looks = 0; looks < 5; looks++) assert.ok(!(await isNew(file)), 'it waits for its turn');
  assert.equal(settled, 0);
  goOn();
  await Promise.all([...writes, first, ...others]);
  assert.ok(await isNew(file));
});
