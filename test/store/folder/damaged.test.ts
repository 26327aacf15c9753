import assert from 'node:assert/strict';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { logSink } from '../../../lib/event-log.ts';
import { Damaged } from '../../../lib/store/folder/damaged.ts';
import { versionOf } from '../../../lib/store/folder/files.ts';
import { Tally } from '../../../lib/store/folder/tally.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';

const PATH = '/nar/x.nar';

async function setUp(t: Owner) {
  const folder = await temporaryFolder(t);
  const said: string[] = [];
  const note = (line: string) => said.push(line);
  const tally = new Tally();
  tally.counting()({ objects: 5, bytes: 100 });
  const damaged = new Damaged(folder, tally, logSink({ info: note, warn: note, error: note }));
  const file = join(folder, 'object');
  await writeFile(file, 'damaged');
  return { folder, file, damaged, tally, said, version: versionOf(await stat(file)) };
}

/** A file that can be neither moved nor deleted, whoever tries: a folder with something in it, and no room for the quarantine. */
async function immovable(t: Owner) {
  const all = await setUp(t);
  await writeFile(join(all.folder, 'quarantine'), 'in the way');
  await rm(all.file);
  await mkdir(all.file);
  await writeFile(join(all.file, 'inside'), '');
  return { ...all, version: versionOf(await stat(all.file)) };
}

test('what is set aside counts no more, and nothing is known of it', async (t) => {
  const { damaged, tally, file, folder, version } = await setUp(t);
  assert.equal(await damaged.setAside(PATH, file, version, 'why'), true);
  assert.deepEqual(tally.totals, { objects: 4, bytes: 93 });
  assert.equal(damaged.reason(file, version), undefined);
  assert.deepEqual(await readdir(folder), ['quarantine']);
});

test('what has been replaced meanwhile stays, and counts', async (t) => {
  const { damaged, tally, file, version } = await setUp(t);
  await writeFile(`${file}-new`, 'correct');
  await rename(`${file}-new`, file);
  assert.equal(await damaged.setAside(PATH, file, version, 'why'), false);
  await damaged.putAway(PATH, file, version, 'why');
  assert.deepEqual(tally.totals, { objects: 5, bytes: 100 });
  assert.equal(damaged.reason(file, version), undefined);
});

test('what can not be moved or deleted is known, said once, and forgotten when it could be or is another', async (t) => {
  const { damaged, tally, file, folder, said, version } = await immovable(t);
  await assert.rejects(damaged.setAside(PATH, file, version, 'why'), { code: 'storage' });
  assert.equal(damaged.reason(file, version), undefined);
  for (let i = 0; i < 2; i++) await damaged.putAway(PATH, file, version, 'why');
  assert.equal(said.length, 1);
  assert.match(
    said[0] ?? '',
    /^\/nar\/x\.nar is damaged \(why\) and can't be moved or deleted: .*; it is not served$/,
  );
  assert.equal(damaged.reason(file, version), 'why');
  assert.equal(damaged.reason(file, 'another version'), undefined);
  assert.equal(damaged.reason(`${file}-new`, version), undefined);
  assert.deepEqual(tally.totals, { objects: 5, bytes: 100 });
  await rm(join(folder, 'quarantine'));
  assert.equal(await damaged.setAside(PATH, file, version, 'why'), true);
  assert.equal(damaged.reason(file, version), undefined);
});

test('what is no trouble of the disk is told to whoever asked', async (t) => {
  const { damaged, file, version } = await setUp(t);
  const fault = new TypeError('a fault of ours');
  t.mock.method(damaged, 'setAside', () => Promise.reject(fault));
  await assert.rejects(damaged.putAway(PATH, file, version, 'why'), fault);
});
