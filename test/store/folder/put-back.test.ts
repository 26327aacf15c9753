import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { putBack, putBackSync } from '../../../lib/store/folder/put-back.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { exfatDisk, needExfat } from '../../system/fixtures/exfat-disk.ts';

async function holds(folder: string): Promise<void> {
  await mkdir(folder);
  const [file, place] = [join(folder, 'aside'), join(folder, 'place')];
  for (const putIt of [putBack, async (...names: [string, string]) => putBackSync(...names)]) {
    await writeFile(file, 'first');
    await putIt(file, place);
    assert.deepEqual([await readdir(folder), await readFile(place, 'utf8')], [['place'], 'first']);
    await putIt(file, place);
    assert.equal(await readFile(place, 'utf8'), 'first', 'what is gone already is no failure');
    await writeFile(place, 'another');
    await writeFile(file, 'first');
    await putIt(file, place);
    assert.deepEqual([await readdir(folder), await readFile(place, 'utf8')], [['place'], 'another']);
    await writeFile(file, 'first');
    await assert.rejects(putIt(file, join(place, 'x')), /ENOTDIR/);
    assert.equal(await readFile(file, 'utf8'), 'first');
    for (const name of [file, place]) await unlink(name);
  }
}

test('what was moved aside goes back, unless another one has come', async (t) => {
  await holds(join(await temporaryFolder(t), 'folder'));
});

test('also where there are no hard links', { skip: needExfat() }, async (t) => {
  await holds(await exfatDisk(t));
});
