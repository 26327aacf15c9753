import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileOf } from '../../../lib/store/folder/files.ts';
import { openFolder } from '../../../lib/store/folder/folder.ts';
import { isLarge, isLearningDue, MANY_OBJECTS } from '../../../lib/store/folder/learning.ts';
import { note, notesFile } from '../../../lib/store/folder/notes.ts';
import { putBackNoted } from '../../../lib/store/folder/quarantine.ts';
import { listenIn } from '../../../lib/store/folder/socket.ts';
import { tempName } from '../../../lib/store/folder/writer.ts';
import { idOf } from '../../../lib/store/object-id.ts';
import { defer, type Owner } from '../../fixtures/defer.ts';
import { Holdings } from '../../fixtures/holdings.ts';
import { makePackage, type Package } from '../../fixtures/nar.ts';
import { doubt, learn, noted, seemLarge } from '../../fixtures/noting.ts';
import { other, setUp } from '../../fixtures/writers.ts';

const [one, same] = ['one', 'same'].map((name) => makePackage(name, { seed: 'one' })) as [Package, Package];
const NAR = idOf(one.narPath);
const ids = (...all: Package[]) => all.map(({ narInfoPath }) => idOf(narInfoPath)).sort();
const narInfoFile = (dir: string, { narInfoPath }: Package) => fileOf(dir, idOf(narInfoPath));

/** Somebody of an earlier version who listens there. */
async function listens(t: Owner, folder: string, name: string, greeting: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const listening = await listenIn(folder, name, { greeting: () => greeting, answer: () => undefined });
  defer(t, () => listening.close());
}

async function holdings(t: TestContext, ...all: Package[]): Promise<Holdings> {
  const made = await Holdings.create(t);
  for (const each of all) await made.narInfo(each, 'push');
  return made;
}

test('what comes while everything is read, and what goes, is as it is', async (t) => {
  const held = await holdings(t, one);
  await learn(held.dir, {
    before: () => held.narInfo(same, 'push'),
    after: async () => assert.equal(await noted(held.dir, NAR), undefined, 'not everything was read'),
  });
  assert.deepEqual(await noted(held.dir, NAR), ids(one, same));
});

test('what has no name yet when it begins is found in tmp/, noted to nobody or to earlier notes', async (t) => {
  const { dir } = await holdings(t, one, same);
  const [on, way] = [narInfoFile(dir, one), join(dir, 'tmp', tempName())];
  for (const isNoted of [false, true]) {
    await rename(on, way);
    if (isNoted) await note(dir, async () => [{ nar: NAR, namer: idOf(one.narInfoPath) }]);
    await doubt(dir);
    // It gets its name when its folder has been read.
    await learn(dir, { after: () => rename(way, on) });
    assert.deepEqual(await noted(dir, NAR), ids(one, same));
  }
});

test('what is aside when it begins, or is set aside meanwhile, may be put back after that', async (t) => {
  const { dir } = await holdings(t, one, same);
  const aside = join(dir, 'quarantine');
  await mkdir(aside);
  const [before, during] = [one, same].map(({ narInfoPath }) => join(aside, `${idOf(narInfoPath)}-1`)) as [
    string,
    string,
  ];
  await rename(narInfoFile(dir, one), before);
  await learn(dir, { before: () => rename(narInfoFile(dir, same), during) });
  await rename(before, narInfoFile(dir, one));
  await putBackNoted(dir, during, narInfoFile(dir, same));
  assert.deepEqual(await noted(dir, NAR), ids(one, same));
});

test('of two who learn at once one is believed at most, and lacks nothing', async (t) => {
  const held = await holdings(t, one);
  await learn(held.dir, {
    after: async () => {
      await learn(held.dir, { before: () => held.narInfo(same, 'push') });
    },
  });
  assert.deepEqual((await noted(held.dir, NAR)) ?? ids(one, same), ids(one, same));
});

test('what another one learns meanwhile stays when the first gives up', async (t) => {
  const { dir } = await holdings(t, one);
  const [stop] = [new Error('stopped')];
  await assert.rejects(
    async () => {
      const iterated = openFolder(dir, () => {}, { many: 0 }).upkeep.namers(new Set([NAR]), {
        storeDir: '/nix/store',
        lookingAtAll: () => {},
      });
      for await (const _ of iterated) {
        await learn(dir);
        throw stop;
      }
    },
    { message: 'stopped' },
  );
  assert.deepEqual(await noted(dir, NAR), ids(one));
});

for (const [what, arrange] of Object.entries<(t: TestContext, dir: string) => Promise<unknown>>({
  'a service of an earlier version has the folder': (t, dir) =>
    listens(t, dir, 'service.sock', JSON.stringify({ pid: 1, host: 'x', since: 'y', id: 'z' })),
  'a service is here that does not say who it is': (t, dir) => listens(t, dir, 'service.sock', ''),
  // It may be on another machine.
  'nobody listens where a service would': (_, dir) => writeFile(join(dir, 'service.sock'), ''),
  'a service of an earlier version begins': (t, dir) =>
    listens(t, join(dir, 'tmp'), '5.6.7-x.sock.new', '{}'),
  'a command of an earlier version is here': (t, dir) => listens(t, join(dir, 'tmp'), '5.6.7.sock', ''),
})) {
  test(`nothing is learned while ${what}`, async (t) => {
    const { dir } = await holdings(t, one);
    await arrange(t, dir);
    assert.equal(await learn(dir), false);
    assert.equal(await noted(dir, NAR), undefined);
  });

  test(`what was learned is not believed when meanwhile ${what}`, async (t) => {
    const { dir } = await holdings(t, one);
    assert.equal(await learn(dir, { after: () => arrange(t, dir) }), true);
    assert.equal(await noted(dir, NAR), undefined);
  });
}

test('what was learned is not believed when a service of an earlier version has come and gone meanwhile', async (t) => {
  const { dir } = await holdings(t, one);
  // It removes what it does not know.
  await learn(dir, { after: () => doubt(dir) });
  assert.equal(await noted(dir, NAR), undefined);
});

test('what was learned is not believed when a command was killed meanwhile that is not known to make notes', async (t) => {
  const { dir } = await holdings(t, one);
  await mkdir(join(dir, 'tmp'), { recursive: true });
  await writeFile(join(dir, 'tmp/7.8.9.sock'), '');
  await learn(dir, { after: () => writeFile(join(dir, 'tmp/5.6.7.sock'), '') });
  assert.equal(await noted(dir, NAR), undefined);
  await learn(dir);
  assert.deepEqual(await noted(dir, NAR), ids(one), 'both were there before');
});

test('commands and services of this version are no hindrance', async (t) => {
  const { dir } = await setUp(t);
  await other(t, dir, true);
  const held = await openFolder(dir, () => {}).take(() => {});
  defer(t, () => held.release());
  assert.ok(await learn(dir));
  assert.deepEqual(await noted(dir, NAR), []);
});

test('it is due where there are many objects and nothing is believed, and when the notes have grown', async (t) => {
  const { dir } = await holdings(t, one);
  assert.equal(await isLearningDue(dir, MANY_OBJECTS), false);
  await seemLarge(dir);
  assert.ok(await isLarge(dir, MANY_OBJECTS));
  assert.equal(await isLearningDue(dir, MANY_OBJECTS), true);
  await learn(dir);
  assert.equal(await isLearningDue(dir, MANY_OBJECTS), false);
  const many = Array.from({ length: 60_000 }, (_, i) => ({ nar: idOf('/gone'), namer: idOf(`${i}`) }));
  await note(dir, async () => many);
  assert.equal(await isLearningDue(dir, MANY_OBJECTS), true);
  const before = (await stat(notesFile(dir))).size;
  await learn(dir);
  assert.ok((await stat(notesFile(dir))).size < before / 100, 'they do not grow for ever');
  assert.deepEqual(await noted(dir, NAR), ids(one));
});

test('a collection learns, a dry run does not', async (t) => {
  const { dir } = await holdings(t, one, same);
  const storage = openFolder(dir, () => {}, { many: 0 });
  const { signal } = new AbortController();
  const limits = {
    ...{ freeBytes: 0, mostBytes: Number.POSITIVE_INFINITY, expireBeforeMs: 0, keepSinceMs: 0, alsoKeep: [] },
    ...{ nowMs: Date.now(), keepPushed: true, orphanBeforeMs: 0, pinned: new Set<string>() },
  };
  for (const remove of [false, true]) {
    assert.equal(await noted(dir, NAR), undefined);
    const how = { storeDir: '/nix/store', remove, tell: false };
    for await (const step of storage.upkeep.collect(limits, how, signal)) void step;
  }
  assert.deepEqual(await noted(dir, NAR), ids(one, same));
});

test('it leaves nothing but the notes, the mark, and the file that commands touch', async (t) => {
  const { dir } = await holdings(t, one);
  const before = await readdir(dir, { recursive: true });
  await learn(dir);
  const after = await readdir(dir, { recursive: true });
  assert.deepEqual(after.filter((name) => !before.includes(name)).sort(), ['changed', 'notes', 'tmp/notes']);
  const head = JSON.parse((await readFile(notesFile(dir), 'latin1')).split('\n')[0] ?? '');
  assert.equal(head.bytes, (await stat(notesFile(dir))).size);
  await rm(notesFile(dir));
});
