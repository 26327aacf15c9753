import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { Commits } from '../../../lib/store/folder/commits.ts';
import { versionOf } from '../../../lib/store/folder/files.ts';
import { encodeHeader } from '../../../lib/store/folder/header.ts';
import { idOf } from '../../../lib/store/object-id.ts';
import { areOwnThreadsBusy } from '../../../lib/sync/threads.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { makePackage, type Package, sha256 } from '../../fixtures/nar.ts';
import { learn, noted } from '../../fixtures/noting.ts';
import { until } from '../../fixtures/patience.ts';

const REPLACE = { replace: true, durable: true };
const ADD = { replace: false, durable: false };

/** With a thread that is there already. */
async function openCommits(t: Owner): Promise<{ commits: Commits; folder: string }> {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'tmp'));
  const commits = new Commits(folder);
  defer(t, () => commits.close());
  assert.equal(commits.isOpen, false, 'there is none before it may be');
  commits.open();
  await until(() => commits.isOpen, 'the thread');
  return { commits, folder };
}

test('many at once: each is whole in its place, in folders that are made for them, and nothing else is left', async (t) => {
  const { commits, folder } = await openCommits(t);
  const names = Array.from({ length: 100 }, (_, i) => `${i % 7}0/object ${i}`);
  const all = names.map((name) =>
    commits.put(join(folder, name), Buffer.from(`the body of ${name}`), REPLACE),
  );
  const placed = await Promise.all(all);
  assert.ok(!areOwnThreadsBusy());
  for (const [i, name] of names.entries()) {
    const file = join(folder, name);
    assert.equal(await readFile(file, 'utf8'), `the body of ${name}`);
    assert.deepEqual(placed[i]?.before, undefined);
    assert.equal(placed[i]?.version, versionOf(await stat(file)));
  }
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('what is there is replaced, and its size told', async (t) => {
  const { commits, folder } = await openCommits(t);
  const file = join(folder, 'object');
  await writeFile(file, 'before');
  assert.equal((await commits.put(file, Buffer.from('after'), REPLACE))?.before, 6);
  assert.equal(await readFile(file, 'utf8'), 'after');
});

test('what is there stays where it is not to be replaced, and what is not comes there', async (t) => {
  const { commits, folder } = await openCommits(t);
  const [there, absent] = [join(folder, 'ab/there'), join(folder, 'cd/absent')];
  await mkdir(join(folder, 'ab'));
  await writeFile(there, 'before');
  const put = (file: string) => commits.put(file, Buffer.from('after'), ADD);
  const [kept, added] = await Promise.all([put(there), put(absent)]);
  assert.equal(kept?.version, undefined);
  assert.equal(await readFile(there, 'utf8'), 'before');
  assert.equal(added?.version, versionOf(await stat(absent)));
  assert.equal(await readFile(absent, 'utf8'), 'after');
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('one that the disk refuses is told so, in words, harms none beside it, and leaves nothing', async (t) => {
  const { commits, folder } = await openCommits(t);
  // A folder can't be replaced by a file.
  await mkdir(join(folder, 'ab/taken'), { recursive: true });
  const [good, bad] = [
    commits.put(join(folder, 'ab/good'), Buffer.from('good'), REPLACE),
    commits.put(join(folder, 'ab/taken'), Buffer.from('bad'), REPLACE),
  ];
  await assert.rejects(bad, (error) => {
    assert.ok(isCacheError(error, 'storage'));
    assert.match(error.message, /^can't write .*ab\/taken: .*EISDIR/);
    return (error.cause as NodeJS.ErrnoException).code === 'EISDIR';
  });
  assert.ok(await good);
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('a folder that somebody has removed is there again for the next', async (t) => {
  const { commits, folder } = await openCommits(t);
  const put = () => commits.put(join(folder, 'ab/object'), Buffer.from('body'), REPLACE);
  await put();
  for (const one of ['ab', 'tmp']) await rm(join(folder, one), { recursive: true });
  await put();
  assert.equal(await readFile(join(folder, 'ab/object'), 'utf8'), 'body');
});

test('closed, it takes nothing more', async (t) => {
  const { commits, folder } = await openCommits(t);
  await commits.close();
  assert.equal(commits.isOpen, false);
  assert.equal(await commits.put(join(folder, 'object'), Buffer.from('body'), REPLACE), undefined);
});

test('what the objects name is noted before the first of them has its name', async (t) => {
  const { commits, folder } = await openCommits(t);
  await learn(folder);
  const all = ['one', 'same', 'late'].map((name) => makePackage(name, { seed: 'one' }));
  const objectOf = ({ narInfo, narInfoPath }: Package) => {
    const body = Buffer.from(narInfo);
    const hash = sha256(body).toString('hex');
    const meta = { path: narInfoPath, origin: 'push', storedAt: new Date(), size: body.length, sha256: hash };
    return Buffer.concat([encodeHeader({ ...meta, kind: 'narinfo' }), body]);
  };
  // They can't be replaced.
  for (const { hash } of all) await mkdir(join(folder, hash, 'in the way'), { recursive: true });
  const put = (each: Package) => commits.put(join(folder, each.hash), objectOf(each), REPLACE);
  for (const one of await Promise.allSettled(all.map(put))) assert.equal(one.status, 'rejected');
  const ids = all.map(({ narInfoPath }) => idOf(narInfoPath)).sort();
  assert.deepEqual(await noted(folder, idOf((all[0] as Package).narPath)), ids);
});

test('what can be neither noted nor be known not to be is not put', async (t) => {
  const { commits, folder } = await openCommits(t);
  await mkdir(join(folder, 'notes'));
  const file = join(folder, 'object');
  await commits.put(file, Buffer.from('one'), REPLACE);
  await mkdir(join(folder, 'tmp/notes'));
  await assert.rejects(commits.put(file, Buffer.from('other'), REPLACE));
  assert.equal(await readFile(file, 'utf8'), 'one');
  assert.deepEqual(await readdir(join(folder, 'tmp')), ['notes']);
});
