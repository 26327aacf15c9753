// Collections in a real folder, with the service beside them: what goes, what stays, and that nobody is shown a narinfo
// whose NAR is gone.
import assert from 'node:assert/strict';
import { mkdir, readdir, rename, rm, stat, symlink, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { GcConfig } from '../../lib/config/config.ts';
import { logSink } from '../../lib/event-log.ts';
import { collect } from '../../lib/gc/collect.ts';
import { createLog } from '../../lib/log.ts';
import { openFolder } from '../../lib/store/folder/folder.ts';
import { Pins } from '../../lib/store/folder/pins.ts';
import { countFolder } from '../../lib/store/folder/scan.ts';
import type { Unit } from '../../lib/store/plan.ts';
import { age, fetched, fileOf, isStored, pushed } from '../fixtures/aged.ts';
import { get, head, push } from '../fixtures/client.ts';
import { Holdings, idOf } from '../fixtures/holdings.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { output } from '../fixtures/run.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const GC: GcConfig = {
  ...{ maxBytes: undefined, maxAgeMs: undefined, minFreeBytes: 0 },
  ...{ keepPushed: true, everyMs: 3_600_000 },
};
const HOUR = 3_600_000;
const { signal } = new AbortController();
const said: string[] = [];
const emit = logSink(createLog((line) => said.push(line)));

function collectIn(dir: string, gc: Partial<GcConfig>, dryRun = false) {
  const storage = openFolder(dir, () => {});
  return collect({ storage, storeDir: '/nix/store', gc: { ...GC, ...gc }, emit, signal, dryRun });
}

test('what is too old goes, with its NAR; what was pushed, used lately or pinned stays', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const old = await fetched(service, upstream, 'old', 100);
  const young = await fetched(service, upstream, 'young', 10);
  const kept = await fetched(service, upstream, 'kept', 100);
  const own = await pushed(service, 'own', 100);
  await new Pins(service.dir).set({ name: 'kept', storePath: kept.storePath });
  const planned = await collectIn(service.dir, { maxAgeMs: 50 * HOUR }, true);
  assert.equal(planned.removedObjects, 2);
  assert.ok(await isStored(service.dir, old.narPath), 'a dry run removes nothing');
  const done = await collectIn(service.dir, { maxAgeMs: 50 * HOUR });
  assert.deepEqual([done.objects, done.removedObjects], [8, 2]);
  for (const [one, stays] of [
    [old, false],
    [young, true],
    [kept, true],
    [own, true],
  ] as const) {
    for (const path of [one.narInfoPath, one.narPath]) {
      assert.equal(await isStored(service.dir, path), stays, `${one.storePath} ${path}`);
    }
  }
  assert.deepEqual(await readdir(join(service.dir, 'trash')), []);
});

test('a pin keeps all that its path refers to, and unpinned it goes', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const leaf = await fetched(service, upstream, 'leaf', 100);
  const root = makePackage('root', { references: [leaf.storePath.slice('/nix/store/'.length)] });
  upstream.on(root.narInfoPath, whole(root.narInfo));
  await get(service.url, root.narInfoPath);
  await until(() => isStored(service.dir, root.narInfoPath), 'the root to be stored');
  const pins = new Pins(service.dir);
  await pins.set({ name: 'root', storePath: root.storePath });
  assert.equal((await collectIn(service.dir, { maxAgeMs: HOUR })).removedObjects, 0);
  assert.ok(await pins.remove('root'));
  await age(service.dir, leaf, 100);
  assert.equal((await collectIn(service.dir, { maxAgeMs: HOUR })).removedObjects, 2);
});

test('what was pushed and what is pinned stays, whatever store the configuration names', async (t) => {
  const holdings = await Holdings.create(t);
  const other = { storeDir: '/opt/store' };
  const leaf = makePackage('leaf', other);
  const root = makePackage('root', { ...other, references: [leaf.base] });
  const own = makePackage('own', other);
  for (const one of [leaf, root]) await holdings.package(one, 'https://cache.example.org');
  await holdings.package(own, 'push');
  for (const one of [leaf, root, own]) await age(holdings.dir, one, 100);
  await new Pins(holdings.dir).set({ name: 'root', storePath: root.storePath });
  assert.equal((await collectIn(holdings.dir, { maxAgeMs: HOUR })).removedObjects, 0);
});

test('no more than the size that is allowed stays, the least recently used going first', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const all = [];
  for (const hours of [9, 8, 7, 6]) all.push(await fetched(service, upstream, `p${hours}`, hours, 100_000));
  const done = await collectIn(service.dir, { maxBytes: 320_000 });
  assert.equal(done.stillTooMuch, 0);
  const left = await Promise.all(all.map((one) => isStored(service.dir, one.narPath)));
  assert.deepEqual(left, [false, false, true, true]);
});

test('what has to stay although it is too much is told, by reason', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await pushed(service, 'own', 100);
  await fetched(service, upstream, 'fresh', 0);
  const done = await collectIn(service.dir, { maxBytes: 1 });
  assert.equal(done.removedObjects, 0);
  assert.ok(done.stillTooMuch > 20_000);
  assert.ok(done.kept.pushed > 10_000 && done.kept.used > 10_000 && done.kept.pinned === 0);
});

test('the service notices what went beside it: no narinfo without its NAR, and both had again from upstream', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const one = await fetched(service, upstream, 'old', 100);
  assert.equal((await collectIn(service.dir, { maxAgeMs: 50 * HOUR })).removedObjects, 2);
  assert.equal((await head(service.url, one.narPath)).status, 404);
  const asked = upstream.count(one.narInfoPath);
  const { text } = await get(service.url, one.narInfoPath);
  assert.equal(upstream.count(one.narInfoPath), asked + 1, 'it is not believed to be here any more');
  assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(one.file));
});

test('what was used since the plan was made stays; also a NAR that is opened at the last moment', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const read = await fetched(service, upstream, 'read', 100);
  const late = await fetched(service, upstream, 'late', 100);
  const storage = openFolder(service.dir, () => {});
  const gc = { ...GC, maxAgeMs: HOUR };
  const onUnits = async (units: readonly Unit[]) => {
    assert.equal(units.length, 2);
    await get(service.url, read.narPath);
  };
  const removing = collect({ storage, storeDir: '/nix/store', gc, emit, signal, onUnits });
  // Its narinfo is gone at once, its NAR only later: a push of another narinfo that names it finds it until then.
  await until(async () => !(await isStored(service.dir, late.narInfoPath)), 'its narinfo to go');
  assert.equal((await head(service.url, late.narPath)).status, 200);
  assert.equal((await removing).removedObjects, 1);
  assert.ok((await isStored(service.dir, read.narInfoPath)) && (await isStored(service.dir, read.narPath)));
  assert.ok(await isStored(service.dir, late.narPath));
  assert.deepEqual(await readdir(join(service.dir, 'trash')), []);
});

test('what a crash left half-removed is back after a start', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const one = await fetched(service, upstream, 'one', 100);
  await service.stop();
  const file = fileOf(service.dir, one.narPath);
  await mkdir(join(service.dir, 'trash'), { recursive: true });
  await rename(file, join(service.dir, 'trash', file.slice(-64)));
  await service.restart();
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
  assert.deepEqual(await readdir(join(service.dir, 'trash')), []);
});

test('what a killed command left half-removed is back, and counts, with the next collection', async (t) => {
  const holdings = await Holdings.create(t);
  const [one, flat] = [makePackage('one'), makePackage('flat')];
  await holdings.nar(one, 'push');
  await holdings.flat(flat.narPath, flat.file);
  const trash = join(holdings.dir, 'trash');
  await mkdir(trash);
  await rename(holdings.file(one.narPath), join(trash, idOf(one.narPath)));
  await rename(join(holdings.dir, idOf(flat.narPath)), join(trash, `${idOf(flat.narPath)}.flat`));
  const { objects } = await collectIn(holdings.dir, {});
  assert.equal(objects, 0, 'whoever moved it there may be about to remove it');
  for (const hours of [-1, 1]) {
    const then = new Date(Date.now() - hours * HOUR);
    await utimes(trash, then, then);
    assert.equal(
      (await collectIn(holdings.dir, {}, true)).objects,
      hours === 1 ? 2 : 0,
      'a dry run changes nothing',
    );
    assert.equal((await collectIn(holdings.dir, {})).objects, 2);
    assert.deepEqual(await readdir(trash), []);
  }
});

test('what can not be read is left as it is, and said so; all else is collected', {
  timeout: 60_000,
}, async (t) => {
  const holdings = await Holdings.create(t);
  const [old, orphan, pipe, loop] = ['old', 'orphan', 'pipe', 'loop'].map((name) => makePackage(name)) as [
    ...[Package, Package, Package, Package],
  ];
  await holdings.package(old, 'https://cache.example.org');
  await holdings.nar(orphan, 'push');
  for (const one of [old, orphan]) {
    const then = new Date(Date.now() - 100 * HOUR);
    for (const path of [one.narInfoPath, one.narPath]) {
      await utimes(holdings.file(path), then, then).catch(() => {});
    }
  }
  for (const path of [pipe.narPath, loop.narInfoPath])
    await mkdir(dirname(holdings.file(path)), { recursive: true });
  await output('mkfifo', [holdings.file(pipe.narPath)]);
  await symlink(holdings.file(loop.narInfoPath), holdings.file(loop.narInfoPath));
  said.length = 0;
  const { objects, removedObjects } = await collectIn(holdings.dir, { maxAgeMs: 50 * HOUR });
  assert.deepEqual([objects, removedObjects], [3, 2]);
  assert.deepEqual(said.length, 1, said.join('\n'));
  assert.match(said[0] ?? '', / warn collection: what can't be read is left as it is, 1 in all: \/.*: ELOOP/);
  assert.ok(said[0]?.includes(holdings.file(loop.narInfoPath)));
  assert.equal((await countFolder(holdings.dir, signal)).objects, 1);
  // The unreadable one may be a narinfo that names it.
  assert.deepEqual(
    (await holdings.ids()).sort(),
    [orphan.narPath, pipe.narPath, loop.narInfoPath].map(idOf).sort(),
  );
  await rm(holdings.file(loop.narInfoPath));
  await collectIn(holdings.dir, { maxAgeMs: 50 * HOUR });
  assert.deepEqual(await holdings.ids(), [idOf(pipe.narPath)]);
});

test('a clock that was ahead protects nothing for ever', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const one = await fetched(service, upstream, 'future', -10_000);
  assert.equal((await collectIn(service.dir, { maxBytes: 1 })).removedObjects, 2);
  assert.equal(await isStored(service.dir, one.narPath), false);
  const left = await fetched(service, upstream, 'left', -10_000);
  await collectIn(service.dir, { maxAgeMs: 10 * HOUR });
  const { mtimeMs } = await stat(fileOf(service.dir, left.narPath));
  assert.ok(mtimeMs < Date.now(), 'from now on it gets old');
  await collectIn(service.dir, { maxBytes: 1 });
  const used = await fetched(service, upstream, 'used', -10_000);
  await get(service.url, used.narPath);
  await utimes(fileOf(service.dir, used.narInfoPath), new Date(), new Date());
  const stays = async () => (await collectIn(service.dir, { maxBytes: 1 }, true)).removedObjects === 0;
  await until(stays, 'its use to be noted');
});

test('without keep_pushed a path that was used lately keeps what it refers to', async (t) => {
  const service = await startTestService(t);
  const base = await pushed(service, 'base', 100);
  const middle = makePackage('middle', { references: [base.base] });
  await push(service.url, middle);
  await age(service.dir, middle, 100);
  const top = makePackage('top', { references: [middle.base] });
  await push(service.url, top);
  // The push itself has looked for what it refers to.
  for (const one of [base, middle]) await age(service.dir, one, 100);
  const unrelated = await pushed(service, 'unrelated', 100);
  const limits = { maxAgeMs: 50 * HOUR, keepPushed: false };
  assert.equal((await collectIn(service.dir, limits)).removedObjects, 2);
  for (const [one, stays] of [
    [base, true],
    [middle, true],
    [top, true],
    [unrelated, false],
  ] as const)
    for (const path of [one.narInfoPath, one.narPath])
      assert.equal(await isStored(service.dir, path), stays, path);
  await age(service.dir, top, 2);
  assert.equal((await collectIn(service.dir, limits)).removedObjects, 4, 'when it is young no more they go');
});
