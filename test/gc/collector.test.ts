// The service collects by itself: when it holds too much, and every so often; and counts what it holds.
import assert from 'node:assert/strict';
import { readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { GcConfig } from '../../lib/config/config.ts';
import { stillTooMuchLine } from '../../lib/event-log.ts';
import { changing } from '../../lib/store/folder/changed-beside.ts';
import { age, fetched, isStored, pushed } from '../fixtures/aged.ts';
import { get } from '../fixtures/client.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const GC: GcConfig = {
  ...{ maxBytes: undefined, maxAgeMs: undefined, minFreeBytes: 0 },
  ...{ keepPushed: true, everyMs: 3_600_000 },
};

test('the object that is too much begins a collection, and is answered all the same', async (t) => {
  const upstream = await startUpstream(t);
  const gc = { ...GC, maxBytes: 250_000 };
  const service = await startTestService(t, { upstreams: [upstream.url], config: { gc } });
  const old = await fetched(service, upstream, 'old', 5, 100_000);
  const own = await pushed(service, 'own', 50);
  const young = await fetched(service, upstream, 'young', 2, 100_000);
  const next = makePackage('next', { size: 100_000 });
  upstream.on(next.narInfoPath, whole(next.narInfo));
  upstream.on(next.narPath, whole(next.file));
  await get(service.url, next.narInfoPath);
  assert.ok((await get(service.url, next.narPath)).body.equals(next.file));
  await service.logged(/collection: removed 2 objects, 10\d KiB, of \d/);
  assert.equal(await isStored(service.dir, old.narPath), false);
  assert.equal(await isStored(service.dir, young.narPath), true);
  assert.equal(await isStored(service.dir, own.narPath), true);
  assert.equal(await isStored(service.dir, next.narPath), true);
});

test('what gets too old goes after a while, without a request', async (t) => {
  const upstream = await startUpstream(t);
  const gc = { ...GC, maxAgeMs: 10 * 3_600_000, everyMs: 100 };
  const service = await startTestService(t, { upstreams: [upstream.url], config: { gc: GC } });
  const old = await fetched(service, upstream, 'old', 20);
  await service.stop();
  const again = await startTestService(t, { config: { gc, cacheDir: service.dir } });
  await again.logged(/collection: removed 2 objects/);
  assert.equal(await isStored(service.dir, old.narPath), false);
});

test('what a command beside it has stored is too much too, after a while', async (t) => {
  const gc = { ...GC, maxBytes: 250_000, keepPushed: false, everyMs: 200 };
  const service = await startTestService(t, { config: { gc } });
  await service.logged(/holding 0 objects/);
  const beside = new Holdings(service.dir);
  await changing(service.dir, async () => {
    for (const name of ['old', 'older', 'oldest']) {
      const one = makePackage(name, { size: 100_000 });
      await beside.package(one, 'push');
      await age(service.dir, one, name.length);
    }
  });
  await service.logged(/collection: removed 2 objects, 10\d KiB, of \d/);
});

test('what a killed command left half-written goes after a day', async (t) => {
  const service = await startTestService(t, { config: { gc: { ...GC, everyMs: 50 } } });
  const tmp = join(service.dir, 'tmp');
  const yesterday = new Date(Date.now() - 25 * 3_600_000);
  for (const name of ['old', 'young']) await writeFile(join(tmp, name), 'half');
  await utimes(join(tmp, 'old'), yesterday, yesterday);
  await until(async () => !(await readdir(tmp)).includes('old'), 'the old one to go');
  assert.deepEqual(await readdir(tmp), ['young']);
});

test('what has to stay is told, and what of the disk others fill', () => {
  const done = { objects: 9, bytes: 500, removedObjects: 2, removedBytes: 200 };
  const kept = { pushed: 100, pinned: 0, used: 200 };
  const own = stillTooMuchLine({ ...done, kept, stillTooMuch: 300 });
  assert.match(own, /must stay: 100 B were pushed, 0 B are pinned, 200 B were used within the last hour$/);
  assert.match(
    stillTooMuchLine({ ...done, kept, stillTooMuch: 350 }),
    /, 50 B on the disk are not the cache's$/,
  );
});

test('a stop does not wait for a collection', async (t) => {
  const upstream = await startUpstream(t);
  const gc = { ...GC, maxAgeMs: 3_600_000, everyMs: 50 };
  const service = await startTestService(t, { upstreams: [upstream.url], config: { gc } });
  await fetched(service, upstream, 'old', 20);
  await until(
    async () => !(await isStored(service.dir, makePackage('old').narInfoPath)),
    'the old one to go',
  );
  // Its NAR follows in a second or two.
  const started = performance.now();
  await service.stop();
  assert.ok(performance.now() - started < 1000);
});
