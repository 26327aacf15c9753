import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { cp, mkdir, open, readFile, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { bootId } from '../../../lib/store/folder/boot.ts';
import { changing } from '../../../lib/store/folder/changed-beside.ts';
import { fileOf } from '../../../lib/store/folder/files.ts';
import { type Folder, openFolder } from '../../../lib/store/folder/folder.ts';
import {
  encodeHead,
  HEAD_BYTES,
  markFile,
  note,
  noteSync,
  notesFile,
} from '../../../lib/store/folder/notes.ts';
import { idOf } from '../../../lib/store/object-id.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { makePackage, type Package, sha256 } from '../../fixtures/nar.ts';
import { doubt, learn, noted } from '../../fixtures/noting.ts';

/** All with the same NAR. */
const [one, same] = ['one', 'same'].map((name) => makePackage(name, { seed: 'one' })) as [Package, Package];
const NAR = idOf(one.narPath);
const idsOf = (...all: Package[]) => all.map(({ narInfoPath }) => idOf(narInfoPath)).sort();

async function setUp(t: TestContext): Promise<{ dir: string; folder: Folder }> {
  const dir = join(await temporaryFolder(t, 'notes'), 'cache');
  const folder = openFolder(dir, () => {});
  await folder.scratch.prepare(true);
  return { dir, folder };
}

async function putNarInfo({ store }: Folder, { narInfo, narInfoPath }: Package): Promise<void> {
  const body = Buffer.from(narInfo);
  const hash = sha256(body).toString('hex');
  const meta = { path: narInfoPath, origin: 'push', storedAt: new Date(), size: body.length, sha256: hash };
  await store.put(body, { ...meta, kind: 'narinfo' }, { when: 'always', durable: true });
}

test('nothing is noted before somebody has learned, and all that is put from then on', async (t) => {
  const { dir, folder } = await setUp(t);
  await putNarInfo(folder, one);
  assert.equal(await noted(dir, NAR), undefined);
  await assert.rejects(stat(notesFile(dir)), { code: 'ENOENT' });
  assert.ok(await learn(dir));
  assert.deepEqual(await noted(dir, NAR), idsOf(one));
  await putNarInfo(folder, same);
  assert.deepEqual(await noted(dir, NAR), idsOf(one, same));
  assert.deepEqual(await noted(dir, idOf('/nar/other')), []);
});

test('the note is there before the name is', async (t) => {
  const { dir, folder } = await setUp(t);
  await learn(dir);
  // Where it is to be is taken by what can't be replaced.
  await mkdir(join(fileOf(dir, idOf(one.narInfoPath)), 'in the way'), { recursive: true });
  await assert.rejects(putNarInfo(folder, one));
  assert.deepEqual(await noted(dir, NAR), idsOf(one));
});

test('what is noted while the notes are made anew is in the new ones', async (t) => {
  const { dir } = await setUp(t);
  for (const way of ['waiting', 'in a thread']) {
    await learn(dir);
    let asked = 0;
    const tell = () => {
      if (++asked > 1) return [{ nar: NAR, namer: idOf(way) }];
      const anew = join(dir, 'anew');
      writeFileSync(anew, encodeHead({ id: 'x', boot: bootId(), file: '', bytes: undefined }));
      renameSync(anew, notesFile(dir));
      return [{ nar: NAR, namer: idOf('lost') }];
    };
    if (way === 'waiting') await note(dir, async () => tell());
    else noteSync(dir, tell);
    assert.equal(asked, 2);
    assert.match(await readFile(notesFile(dir), 'latin1'), new RegExp(idOf(way)));
  }
});

test('they are believed on after a service, and after one that was killed', async (t) => {
  const { dir, folder } = await setUp(t);
  await learn(dir);
  const held = await folder.take(() => {});
  await putNarInfo(folder, one);
  await folder.scratch.dropAbandoned();
  await held.release();
  await (await openFolder(dir, () => {}).take(() => {})).release();
  assert.deepEqual(await noted(dir, NAR), idsOf(one));
});

test('they are believed on when a command of this version has changed the folder, and that is told', async (t) => {
  const { dir } = await setUp(t);
  await learn(dir);
  await utimes(join(dir, 'changed'), 1, 1);
  await changing(dir, async () => {});
  assert.notEqual((await stat(join(dir, 'changed'))).mtimeMs, 1000);
  assert.deepEqual(await noted(dir, NAR), []);
});

for (const [what, harm] of Object.entries<(dir: string) => Promise<unknown>>({
  'they are gone': (dir) => rm(notesFile(dir)),
  'the mark is gone, as after a service of an earlier version': (dir) => doubt(dir),
  'the mark is of others': (dir) => writeFile(markFile(dir), 'other'),
  'a command of an earlier version has changed the folder': (dir) => writeFile(join(dir, 'changed'), ''),
  'the folder was emptied but for them': (dir) => rm(join(dir, 'tmp'), { recursive: true }),
  'they are a copy': async (dir) => {
    await cp(notesFile(dir), join(dir, 'copy'));
    await rename(join(dir, 'copy'), notesFile(dir));
  },
  'the machine was started since': async (dir) => {
    const text = await readFile(notesFile(dir), 'latin1');
    const handle = await open(notesFile(dir), 'r+');
    await handle.write(text.slice(0, HEAD_BYTES).replace(bootId(), bootId().replace(/^./, 'x')), 0);
    await handle.close();
  },
  'their head is cut off': async (dir) => {
    const handle = await open(notesFile(dir), 'r+');
    await handle.truncate(50);
    await handle.close();
  },
  'they are no file': async (dir) => {
    await rm(notesFile(dir));
    await mkdir(notesFile(dir));
  },
})) {
  test(`they are not believed when ${what}; what is put is stored, and learned the next time`, async (t) => {
    const { dir, folder } = await setUp(t);
    await putNarInfo(folder, one);
    await learn(dir);
    assert.deepEqual(await noted(dir, NAR), idsOf(one));
    await harm(dir);
    assert.equal(await noted(dir, NAR), undefined);
    await putNarInfo(folder, same);
    assert.ok((await folder.store.version(same.narInfoPath)) !== undefined);
    assert.equal(await noted(dir, NAR), undefined);
    await rm(notesFile(dir), { recursive: true, force: true });
    assert.ok(await learn(dir));
    assert.deepEqual(await noted(dir, NAR), idsOf(one, same));
  });
}

for (const [way, write] of [
  ['a note', (dir: string) => note(dir, async () => [{ nar: NAR, namer: idOf('/x') }])],
  ['a note of a thread', async (dir: string) => noteSync(dir, () => [{ nar: NAR, namer: idOf('/x') }])],
] as const) {
  test(`${way} that can't be written, or told, ends the belief in all of them`, async (t) => {
    const { dir } = await setUp(t);
    for (const harm of [
      async () => {
        // Full for who appends to it.
        await rm(notesFile(dir));
        await symlink('/dev/full', notesFile(dir));
      },
      () => writeFile(notesFile(dir), encodeHead({ id: 'x', boot: 'another', file: '', bytes: undefined })),
    ]) {
      await rm(notesFile(dir), { force: true });
      await learn(dir);
      await harm();
      await write(dir);
      await assert.rejects(stat(markFile(dir)), { code: 'ENOENT' });
    }
    await learn(dir);
    await write(dir);
    assert.deepEqual(await noted(dir, NAR), [idOf('/x')]);
    await note(dir, async () => {
      throw new Error('it can not be told');
    });
    assert.equal(await noted(dir, NAR), undefined);
  });
}

test('where the belief can not be ended either, what names the NAR is not put', async (t) => {
  const { dir, folder } = await setUp(t);
  await learn(dir);
  await rm(notesFile(dir));
  await mkdir(notesFile(dir));
  await rm(markFile(dir));
  await mkdir(markFile(dir));
  await assert.rejects(putNarInfo(folder, one), /can't note what/);
  assert.equal(await folder.store.version(one.narInfoPath), undefined);
});

test('a note is found wherever it lies, also across the ends of what is read at once', async (t) => {
  const { dir } = await setUp(t);
  await learn(dir);
  const others = Array.from({ length: 30_000 }, (_, i) => ({
    nar: idOf(`${i % 997}`),
    namer: idOf(`n${i}`),
  }));
  const mine = others.filter((_, i) => i % 100 === 0).map(({ namer }) => ({ nar: NAR, namer }));
  const all = [...others, ...mine].sort((a, b) => (a.namer < b.namer ? -1 : 1));
  noteSync(dir, () => all);
  assert.deepEqual(await noted(dir, NAR), mine.map(({ namer }) => namer).sort());
});
