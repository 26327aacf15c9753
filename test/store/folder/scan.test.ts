// The thread that looks through a folder: all that is in it is told of, once, and what can't be read is no empty folder.
import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { isCacheError } from '../../../lib/errors.ts';
import { countFolder, planFolder } from '../../../lib/store/folder/scan.ts';
import type { Limits, Unit } from '../../../lib/store/plan.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { Holdings, idOf } from '../../fixtures/holdings.ts';
import { makePackage } from '../../fixtures/nar.ts';

/** Everything goes. */
const NOTHING_STAYS: Limits = {
  ...{ freeBytes: 0, mostBytes: 0, expireBeforeMs: Number.POSITIVE_INFINITY, nowMs: Date.now() },
  ...{ keepSinceMs: Number.POSITIVE_INFINITY, alsoKeep: [], orphanBeforeMs: Number.POSITIVE_INFINITY },
  ...{ keepPushed: false, pinned: new Set() },
};
const { signal } = new AbortController();

async function plan(folder: string, remove: boolean): Promise<{ units: Unit[]; removed: number }> {
  const units: Unit[] = [];
  let removed = 0;
  const options = { folder, storeDir: '/nix/store', expected: 10 };
  for await (const reply of planFolder(options, NOTHING_STAYS, { remove, tell: true }, signal)) {
    if (reply.kind === 'units') units.push(...reply.units);
    if (reply.kind === 'removed') removed += reply.objects;
  }
  return { units, removed };
}

test('more than fits into one message is told of in several, each object once', async (t) => {
  const folder = await temporaryFolder(t);
  const ids = Array.from({ length: 5100 }, (_, i) => idOf(String(i)));
  for (const id of ids) await writeFile(join(folder, id), 'x');
  const { units } = await plan(folder, false);
  assert.deepEqual(units.map(([part]) => part?.id).sort(), ids.sort());
});

test('what the Go service left goes like everything else, a narinfo with its NAR', async (t) => {
  const holdings = await Holdings.create(t);
  const one = makePackage('flat');
  await holdings.flat(one.narInfoPath, one.narInfo);
  await holdings.flat(one.narPath, one.file);
  await holdings.package(makePackage('other'), 'https://cache.example.org');
  const { units, removed } = await plan(holdings.dir, true);
  const flat = units.find(([first]) => first?.id === idOf(one.narInfoPath));
  assert.deepEqual(
    flat?.map(({ id, kind }) => [id, kind]),
    [
      [idOf(one.narInfoPath), 'narinfo'],
      [idOf(one.narPath), 'nar'],
    ],
  );
  assert.equal(removed, 4);
  assert.deepEqual(await holdings.ids(), []);
});

test('folders of names that are none, and files beside the objects, are not counted', async (t) => {
  const holdings = await Holdings.create(t);
  await holdings.package(makePackage('one'), 'push');
  await writeFile(join(holdings.dir, 'scrub.json'), '{}');
  const [shard = ''] = (await readdir(holdings.dir)).filter((name) => /^..$/.test(name));
  await writeFile(join(holdings.dir, shard, 'note'), 'mine');
  await mkdir(join(holdings.dir, idOf('a folder')));
  assert.equal((await countFolder(holdings.dir, signal)).objects, 2);
});

test('a folder that is not there is no empty one', async (t) => {
  const folder = join(await temporaryFolder(t), 'missing');
  const isStorage = (error: unknown) => isCacheError(error, 'storage') && /can't read/.test(error.message);
  await assert.rejects(countFolder(folder, signal), isStorage);
  await assert.rejects(plan(folder, true), isStorage);
});

/** A plan of which the summary has been fetched, and its thread. */
async function begun(t: TestContext): Promise<{ replies: ReturnType<typeof planFolder>; worker: Worker }> {
  const { dir } = await Holdings.create(t);
  const workers: Worker[] = [];
  const note = (worker: Worker) => workers.push(worker);
  process.on('worker', note);
  t.after(() => void process.off('worker', note));
  const options = { folder: dir, storeDir: '/nix/store', expected: 10 };
  const replies = planFolder(options, NOTHING_STAYS, { remove: false, tell: true }, signal);
  assert.equal((await replies.next()).value?.kind, 'summary');
  const [worker] = workers;
  if (worker === undefined) assert.fail('there is a thread');
  return { replies, worker };
}

test('a thread that fails while nobody waits for it fails whoever asks next, and nobody else', async (t) => {
  const { replies, worker } = await begun(t);
  worker.emit('error', new Error('out of memory'));
  await assert.rejects(replies.next(), (error) => isCacheError(error, 'storage'));
});

test('a thread that ends while nobody waits for it ends the answer', { timeout: 20_000 }, async (t) => {
  const { replies, worker } = await begun(t);
  await worker.terminate();
  assert.equal((await replies.next()).done, true);
});
