// What every store must promise, sentence by sentence, with its scratch space and its upkeep. A store that passes this can be put
// under the service.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { piecesOf } from '../../lib/bytes/streams.ts';
import { bytesOf } from '../../lib/check/body.ts';
import type { ObjectKind } from '../../lib/nix/object-name.ts';
import { idOf } from '../../lib/store/object-id.ts';
import type { Limits } from '../../lib/store/plan.ts';
import type { CacheStorage } from '../../lib/store/storage.ts';
import type { ObjectMeta, PutOptions, StoredObject } from '../../lib/store/store.ts';
import type { Aside, Inspected, Located, Namer, Place, Step } from '../../lib/store/upkeep.ts';
import type { Owner } from '../fixtures/defer.ts';
import { makePackage, noise, type Package, sha256 } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';

/** A storage of its own; another time, what a service that starts again finds of the same. */
export interface TestStorage {
  readonly storage: CacheStorage;
  /** As after a restart. */
  again(): Promise<CacheStorage>;
  /** Damages the body that is stored under this path. */
  spoil(path: string): Promise<void>;
  /** Has the object be used so long ago. */
  age(path: string, ms: number): Promise<void>;
}

const ALWAYS: PutOptions = { when: 'always', durable: false };
const ABSENT: PutOptions = { when: 'absent', durable: false };
const PATH = '/log/00000000000000000000000000000000-x.drv';
const BODY = noise(300_000, 'a body');
const HOUR_MS = 3_600_000;
const { signal } = new AbortController();
const STORE = { storeDir: '/nix/store' };

function metaOf(path: string, body: Buffer, kind: ObjectKind = 'log', origin = 'push'): ObjectMeta {
  const hash = sha256(body).toString('hex');
  return { path, kind, origin, storedAt: new Date(), size: body.length, sha256: hash };
}

async function put(
  { scratch, store }: CacheStorage,
  path: string,
  body: Buffer,
  options = ALWAYS,
  kind: ObjectKind = 'log',
): Promise<'stored' | 'exists'> {
  const spool = scratch.spool();
  try {
    await spool.write(body, 0);
    return await store.put(spool, metaOf(path, body, kind), options);
  } finally {
    await spool.close();
  }
}

async function bodyOf({ store }: CacheStorage, path = PATH): Promise<Buffer | undefined> {
  return (await store.open(path))?.bytes();
}

async function read(object: StoredObject | undefined, start: number, end: number): Promise<Buffer> {
  assert.ok(object);
  const parts: Buffer[] = [];
  for await (const piece of piecesOf(object.reader(start, end))) parts.push(Buffer.from(piece));
  return Buffer.concat(parts);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

async function putPackage(storage: CacheStorage, one: Package): Promise<void> {
  await put(storage, one.narPath, one.file, ALWAYS, 'nar');
  await put(storage, one.narInfoPath, Buffer.from(one.narInfo), ALWAYS, 'narinfo');
}

async function placeOf(storage: CacheStorage, path: string): Promise<Place> {
  const found = (await all(storage.upkeep.places())).find(({ id }) => id === idOf(path));
  assert.ok(found, `${path} has no place`);
  return found.place;
}

/** What was not used for an hour goes. */
function limitsNow(): Limits {
  const now = Date.now();
  return {
    freeBytes: 0,
    mostBytes: Number.POSITIVE_INFINITY,
    expireBeforeMs: now - HOUR_MS,
    keepSinceMs: now - HOUR_MS,
    alsoKeep: [],
    nowMs: now,
    keepPushed: false,
    orphanBeforeMs: 0,
    pinned: new Set<string>(),
  };
}

export function storeContract(name: string, open: (t: Owner) => Promise<TestStorage>): void {
  const promise = (sentence: string, check: (world: TestStorage) => Promise<void>) =>
    test(`${name}: ${sentence}`, async (t) => check(await open(t)));

  promise(
    'what was put is seen at once by open, version and list, and by whoever starts again',
    async (world) => {
      const { storage } = world;
      const { store } = storage;
      assert.equal(await store.open(PATH), undefined);
      assert.equal(await store.version(PATH), undefined);
      assert.equal(await put(storage, PATH, BODY), 'stored');
      for (const one of [storage, await world.again()]) {
        const object = await one.store.open(PATH);
        const { meta, version } = object as StoredObject;
        assert.deepEqual(
          [meta.path, meta.kind, meta.origin, meta.size, meta.sha256],
          [PATH, 'log', 'push', BODY.length, sha256(BODY).toString('hex')],
        );
        assert.ok((await object?.bytes())?.equals(BODY));
        assert.equal((await one.store.version(PATH))?.version, version);
        assert.deepEqual(
          (await all(one.store.list())).map(({ path, size }) => [path, size]),
          [[PATH, BODY.length]],
        );
      }
    },
  );

  promise('any part of an object is read, and the whole', async ({ storage }) => {
    await put(storage, PATH, BODY);
    for (const [start, end] of [
      [0, BODY.length],
      [0, 1],
      [5, 6],
      [150_000, 300_000],
      [10, 10],
    ] as const) {
      const found = await read(await storage.store.open(PATH), start, end);
      assert.ok(found.equals(BODY.subarray(start, end)), `${start} to ${end}`);
    }
  });

  promise('the bytes of an open object survive its replacement and its deletion', async ({ storage }) => {
    await put(storage, PATH, BODY);
    const [first, second] = [await storage.store.open(PATH), await storage.store.open(PATH)];
    await put(storage, PATH, Buffer.from('another'));
    assert.equal((await bodyOf(storage))?.toString(), 'another');
    assert.equal(await storage.store.delete(PATH), true);
    assert.equal(await storage.store.open(PATH), undefined);
    for (const object of [first, second]) assert.ok((await read(object, 0, BODY.length)).equals(BODY));
  });

  promise(
    'what is had at once is what open would give: nothing that was replaced, deleted, set aside or withdrawn',
    async ({ storage }) => {
      const { store, upkeep } = storage;
      const { narPath, file } = makePackage('one');
      const serve = async () => {
        const object = await store.open(narPath, true);
        object?.used();
        if (object !== undefined) await read(object, 0, object.meta.size);
      };
      const offered = async () => {
        const object = store.ready(narPath);
        return object && read(object, 0, object.meta.size);
      };
      let offers = 0;
      const hold = await storage.take(() => {});
      try {
        for (const end of [
          () => put(storage, narPath, file, ALWAYS, 'nar'),
          () => store.delete(narPath),
          () => store.setAsideAs(narPath, 'it is odd'),
          () => upkeep.withdraw(idOf(narPath)),
          async () => upkeep.remove(await placeOf(storage, narPath)),
          () => upkeep.removeNar(idOf(narPath), async () => false),
        ]) {
          const before = noise(5000, String(end));
          await put(storage, narPath, before, ALWAYS, 'nar');
          for (let times = 0; times < 3; times++) await serve();
          const lately = await offered();
          assert.ok(lately === undefined || lately.equals(before));
          if (lately !== undefined) offers++;
          await end();
          const now = await offered();
          assert.ok(now === undefined || now.equals(file), String(end));
        }
        assert.ok(offers > 0, 'a store that never offers anything shows nothing here');
      } finally {
        await hold.release();
      }
    },
  );

  promise('a body is put from a buffer as from a spool', async ({ storage }) => {
    const body = Buffer.from('small');
    assert.equal(await storage.store.put(body, metaOf(PATH, body), ABSENT), 'stored');
    assert.equal((await bodyOf(storage))?.toString(), 'small');
  });

  promise('a put if absent keeps what is there, one at any time replaces it', async ({ storage }) => {
    assert.equal(await put(storage, PATH, Buffer.from('first'), ABSENT), 'stored');
    assert.equal(await put(storage, PATH, Buffer.from('second'), ABSENT), 'exists');
    assert.equal((await bodyOf(storage))?.toString(), 'first');
    assert.equal(await put(storage, PATH, Buffer.from('third')), 'stored');
    assert.equal((await bodyOf(storage))?.toString(), 'third');
  });

  promise('of several puts if absent at once one wins, and all see that', async ({ storage }) => {
    const bodies = Array.from({ length: 8 }, (_, i) => Buffer.from(`body ${i}`));
    const how = await Promise.all(bodies.map((body) => put(storage, PATH, body, ABSENT)));
    assert.equal(how.filter((one) => one === 'stored').length, 1);
    assert.equal((await bodyOf(storage))?.toString(), `body ${how.indexOf('stored')}`);
  });

  promise('a put at a version fails if another came first, or if it is gone', async ({ storage }) => {
    const { store } = storage;
    await put(storage, PATH, Buffer.from('first'));
    const { version = '' } = (await store.version(PATH)) ?? {};
    const at = { when: { version }, durable: false };
    assert.equal(await put(storage, PATH, Buffer.from('second'), at), 'stored');
    assert.equal(await put(storage, PATH, Buffer.from('third'), at), 'exists');
    assert.equal((await bodyOf(storage))?.toString(), 'second');
    const now = { when: { version: (await store.version(PATH))?.version ?? '' }, durable: false };
    const how = await Promise.all(['a', 'b', 'c'].map((text) => put(storage, PATH, Buffer.from(text), now)));
    assert.equal(how.filter((one) => one === 'stored').length, 1);
    await store.delete(PATH);
    assert.equal(await put(storage, PATH, Buffer.from('fourth'), now), 'exists');
    assert.equal(await store.open(PATH), undefined);
  });

  promise(
    'the version differs whenever the object was replaced, also by the same bytes',
    async ({ storage }) => {
      const versions = new Set<string | undefined>();
      for (let i = 0; i < 5; i++) {
        await put(storage, PATH, BODY);
        versions.add((await storage.store.version(PATH))?.version);
      }
      assert.equal(versions.size, 5);
    },
  );

  promise(
    'a deleted object is gone for open, version and list; deleting it again is no failure',
    async (world) => {
      const { storage } = world;
      await put(storage, PATH, BODY);
      assert.equal(await storage.store.isGone(PATH), false);
      assert.equal(await storage.store.delete(PATH), true);
      for (const one of [storage, await world.again()]) {
        assert.equal(await one.store.open(PATH), undefined);
        assert.equal(await one.store.version(PATH), undefined);
        assert.equal(await one.store.isGone(PATH), true);
        assert.deepEqual(await all(one.store.list()), []);
        assert.equal(await one.store.delete(PATH), false);
      }
    },
  );

  promise(
    'what is damaged is not read to its end, is set aside, and does not stand in the way',
    async (world) => {
      const { storage } = world;
      await put(storage, PATH, BODY);
      await world.spoil(PATH);
      await assert.rejects(read(await storage.store.open(PATH), 0, BODY.length), { code: 'damaged' });
      assert.equal(await storage.store.open(PATH), undefined);
      const [aside, ...others] = await storage.upkeep.listAside();
      assert.deepEqual([aside?.id, aside?.label, others.length], [idOf(PATH), PATH, 0]);
      assert.equal(await put(storage, PATH, BODY, ABSENT), 'stored');
      assert.ok((await bodyOf(storage))?.equals(BODY));
    },
  );

  promise('looking leaves no trace, a use is noted', async (world) => {
    const { storage } = world;
    await put(storage, PATH, BODY);
    const ago = async () => Date.now() - ((await all(storage.store.list()))[0]?.lastUse.getTime() ?? 0);
    await world.age(PATH, HOUR_MS);
    await bodyOf(storage);
    await storage.store.version(PATH);
    await (await storage.upkeep.inspect(await placeOf(storage, PATH), () => {}))?.close();
    assert.ok((await ago()) > HOUR_MS - 60_000, 'who only looked is not seen');
    (await storage.store.version(PATH))?.used();
    await until(async () => (await ago()) < 60_000, 'the use of what was seen to be noted');
    await world.age(PATH, HOUR_MS);
    const object = await storage.store.open(PATH);
    object?.used();
    await object?.close();
    await until(async () => (await ago()) < 60_000, 'the use of the open object to be noted');
  });

  promise(
    'a spool is written and read at any offset, and nothing of it is left when it is closed',
    async ({ storage }) => {
      const spool = storage.scratch.spool();
      await spool.ready();
      await spool.write(Buffer.from('world'), 6);
      await spool.write(Buffer.from('hello '), 0);
      const buffer = Buffer.alloc(20);
      assert.equal(await spool.read(buffer, 0), 11);
      assert.equal(buffer.toString('utf8', 0, 11), 'hello world');
      let isIdle = false;
      const idle = storage.scratch.idle().then(() => {
        isIdle = true;
      });
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(isIdle, false, 'it is open');
      await Promise.all([spool.close(), spool.close()]);
      await idle;
      assert.deepEqual(await all(storage.store.list()), []);
    },
  );

  promise(
    'a kept beginning is taken once, by whoever starts again, for that very body alone',
    async (world) => {
      const whole = { path: PATH, size: BODY.length, sha256: sha256(BODY).toString('hex') };
      const keep = async ({ scratch }: CacheStorage) => {
        const spool = scratch.spool();
        await spool.write(BODY.subarray(0, 5000), 0);
        await scratch.keepBeginning(spool, { ...whole, length: 5000 });
        await spool.close();
      };
      await keep(world.storage);
      const { scratch } = await world.again();
      const taken = await scratch.takeBeginning(whole);
      assert.equal(taken?.length, 5000);
      const buffer = Buffer.alloc(5000);
      await taken?.spool.read(buffer, 0);
      assert.ok(buffer.equals(BODY.subarray(0, 5000)));
      await taken?.spool.close();
      assert.equal(await scratch.takeBeginning(whole), undefined);
      await keep(world.storage);
      assert.equal(await scratch.takeBeginning({ ...whole, sha256: 'ab'.repeat(32) }), undefined);
    },
  );

  promise('what is held is counted, and the count follows what comes and goes', async ({ storage }) => {
    const { store, upkeep } = storage;
    await put(storage, PATH, BODY);
    const counted = await upkeep.count(signal);
    assert.equal(counted.objects, 1);
    assert.ok(counted.bytes >= BODY.length);
    let changes = 0;
    upkeep.watch(() => {
      changes++;
    });
    await put(storage, `${PATH}-2`, BODY);
    assert.deepEqual([upkeep.totals?.objects, upkeep.totals?.bytes], [2, 2 * counted.bytes]);
    await store.delete(PATH);
    assert.deepEqual([upkeep.totals?.objects, upkeep.totals?.bytes], [1, counted.bytes]);
    assert.ok(changes >= 2);
  });

  promise('places come in a lasting order, from any of them on', async (world) => {
    const paths = Array.from({ length: 20 }, (_, i) => `${PATH}-${i}`);
    for (const path of paths) await put(world.storage, path, Buffer.from(path));
    const { upkeep } = world.storage;
    const places = await all(upkeep.places());
    assert.deepEqual(new Set(places.map(({ id }) => id)), new Set(paths.map(idOf)));
    assert.deepEqual(await all((await world.again()).upkeep.places()), places);
    for (const at of [0, 7, 19])
      assert.deepEqual(await all(upkeep.places((places[at] as Located).place)), places.slice(at + 1));
  });

  promise('an object is looked into by its place and by its id, whole and in part', async ({ storage }) => {
    await put(storage, PATH, BODY);
    const { upkeep } = storage;
    const byPlace = await upkeep.inspect(await placeOf(storage, PATH), () => {});
    const byId = (await upkeep.inspectId(idOf(PATH), () => {})) as Inspected;
    for (const object of [byPlace as Inspected, byId]) {
      assert.deepEqual(
        [object.path, object.meta?.path, object.damage, object.size],
        [PATH, PATH, undefined, BODY.length],
      );
      assert.equal(object.version, (await storage.store.version(PATH))?.version);
      assert.ok((await bytesOf(object)).equals(BODY));
      assert.ok((await bytesOf(object, 10, 20)).equals(BODY.subarray(10, 20)));
      await object.close();
    }
    assert.equal(await upkeep.inspectId(idOf('/nothing'), () => {}), undefined);
    assert.equal(await upkeep.has(idOf(PATH)), true);
    assert.equal(await upkeep.has(idOf('/nothing')), false);
  });

  promise('what names a NAR is found: narinfos, and indexes of debug information', async ({ storage }) => {
    const [one, other] = [makePackage('one'), makePackage('other')];
    for (const each of [one, other]) await putPackage(storage, each);
    const index = Buffer.from(JSON.stringify({ archive: `..${one.narPath}`, member: 'x' }));
    const indexPath = `/debuginfo/${'ab'.repeat(20)}`;
    await put(storage, indexPath, index, ALWAYS, 'debug-info');
    const wanted = new Set([idOf(one.narPath)]);
    const found: Namer[] = await all(storage.upkeep.namers(wanted, STORE));
    const expected = [
      ['debug-info', await placeOf(storage, indexPath)],
      ['narinfo', await placeOf(storage, one.narInfoPath)],
    ];
    assert.deepEqual(found.map(({ kind, place }) => [kind, place]).sort(), expected);
    assert.ok(found.every(({ nar }) => nar === idOf(one.narPath)));
    const small = await all(storage.upkeep.smallBodies(1000, () => {}));
    assert.deepEqual(
      small.map(({ body, path }) => [path, body.toString()]),
      [[indexPath, index.toString()]],
    );
  });

  promise(
    'what names a NAR is also found by who need not look at all: what came, went and was replaced since somebody did',
    async (world) => {
      const { storage } = world;
      const [one, same, moved, gone] = ['one', 'same', 'moved', 'gone'].map((name) =>
        makePackage(name, { seed: 'one' }),
      ) as [Package, Package, Package, Package];
      const other = makePackage('moved', { seed: 'other' });
      for (const each of [one, moved, gone]) await putPackage(storage, each);
      const wanted = new Set([idOf(one.narPath)]);
      let looks = 0;
      const placesIn = async ({ upkeep }: CacheStorage) => {
        const found = await all(upkeep.namers(wanted, { ...STORE, lookingAtAll: () => void looks++ }));
        return found.map(({ place }) => place).sort();
      };
      const expected = async (...packages: Package[]) =>
        (await Promise.all(packages.map(({ narInfoPath }) => placeOf(storage, narInfoPath)))).sort();
      assert.deepEqual(await placesIn(storage), await expected(one, moved, gone));
      await putPackage(storage, same);
      await put(storage, moved.narInfoPath, Buffer.from(other.narInfo), ALWAYS, 'narinfo');
      await storage.store.delete(gone.narInfoPath);
      const index = Buffer.from(JSON.stringify({ archive: `..${one.narPath}`, member: 'x' }));
      const indexPath = `/debuginfo/${'ab'.repeat(20)}`;
      await put(storage, indexPath, index, ALWAYS, 'debug-info');
      const now = [...(await expected(one, same)), await placeOf(storage, indexPath)].sort();
      assert.deepEqual(await placesIn(storage), now);
      assert.deepEqual(await placesIn(await world.again()), now);
      assert.ok(looks <= 1, 'it looks at all once at most');
    },
  );

  promise(
    'what is set aside is served to nobody, unless it was replaced; it can be put back or dropped',
    async ({ storage }) => {
      const { store, upkeep } = storage;
      await put(storage, PATH, BODY);
      const found = {
        place: await placeOf(storage, PATH),
        version: (await store.version(PATH))?.version ?? '',
      };
      await put(storage, PATH, Buffer.from('another'));
      assert.equal(await upkeep.setAside(found, PATH, 'it is odd'), false, 'it is another by now');
      const now = { ...found, version: (await store.version(PATH))?.version ?? '' };
      assert.equal(await upkeep.setAside(now, PATH, 'it is odd'), true);
      assert.equal(await store.open(PATH), undefined);
      const [aside] = (await upkeep.listAside()) as [Aside];
      assert.deepEqual([aside.id, aside.label, aside.reason], [idOf(PATH), PATH, 'it is odd']);
      assert.equal((await upkeep.wholeAside(aside))?.path, PATH);
      assert.equal((await upkeep.remains(idOf(PATH)))[0]?.body.toString(), 'another');
      await upkeep.putBack(aside);
      assert.equal((await bodyOf(storage))?.toString(), 'another');
      assert.deepEqual(await upkeep.listAside(), []);
      await store.setAsideAs(PATH, 'again');
      assert.equal((await upkeep.listAside()).length, 1);
      await upkeep.dropAside(idOf(PATH));
      assert.deepEqual([await upkeep.listAside(), await store.open(PATH)], [[], undefined]);
    },
  );

  promise(
    'what is withdrawn is served to nobody, and its remains are found until it is forgotten',
    async (world) => {
      const { upkeep } = world.storage;
      await put(world.storage, PATH, Buffer.from('text'));
      await upkeep.withdraw(idOf(PATH));
      const again = await world.again();
      assert.equal(await again.store.open(PATH), undefined);
      const [remains] = await again.upkeep.remains(idOf(PATH));
      assert.deepEqual([remains?.meta?.path, remains?.body.toString()], [PATH, 'text']);
      assert.deepEqual(await again.upkeep.listAside(), [], 'it is not damaged');
      await again.upkeep.forget(idOf(PATH));
      assert.deepEqual(await again.upkeep.remains(idOf(PATH)), []);
    },
  );

  promise(
    'a NAR is removed unless it turns out to be needed; whatever lies somewhere is removed',
    async ({ storage }) => {
      const { store, upkeep } = storage;
      const { narPath, file } = makePackage('one');
      await put(storage, narPath, file, ALWAYS, 'nar');
      const lookedFor: (string | undefined)[] = [];
      const isNeeded = async () => {
        lookedFor.push((await store.version(narPath))?.version);
        return true;
      };
      assert.equal(await upkeep.removeNar(idOf(narPath), isNeeded), undefined);
      assert.deepEqual(lookedFor, [undefined], 'nobody can find it while that is asked');
      assert.ok((await bodyOf(storage, narPath))?.equals(file));
      const { bytes } = await upkeep.count(signal);
      assert.equal(await upkeep.removeNar(idOf(narPath), async () => false), bytes);
      assert.equal(await store.open(narPath), undefined);
      await put(storage, PATH, BODY);
      await upkeep.remove(await placeOf(storage, PATH));
      assert.equal(await store.open(PATH), undefined);
    },
  );

  promise(
    'a collection takes what was not used for long, path by path, and nothing that was',
    async (world) => {
      const { storage } = world;
      const [old, young] = [makePackage('old'), makePackage('young')];
      for (const one of [old, young]) await putPackage(storage, one);
      for (const path of [old.narPath, old.narInfoPath]) await world.age(path, 9 * HOUR_MS);
      const limits = limitsNow();
      const run = (remove: boolean): Promise<Step[]> =>
        all(storage.upkeep.collect(limits, { ...STORE, remove, tell: true }, signal));
      const planned = await run(false);
      const units = planned.flatMap((step) => (step.kind === 'units' ? step.units : []));
      assert.deepEqual(
        units.map((unit) => unit.map(({ id }) => id)),
        [[idOf(old.narInfoPath), idOf(old.narPath)]],
      );
      assert.ok(await storage.store.version(old.narPath), 'nothing is removed where that is not wished');
      const done = (await run(true)).flatMap((step) => (step.kind === 'removed' ? step.objects : []));
      assert.equal(
        done.reduce((sum, objects) => sum + objects, 0),
        2,
      );
      for (const path of [old.narPath, old.narInfoPath])
        assert.equal(await storage.store.version(path), undefined);
      for (const path of [young.narPath, young.narInfoPath]) assert.ok(await storage.store.version(path));
    },
  );

  promise('a pushed path that was used lately keeps the pushed paths that it refers to', async (world) => {
    const { storage } = world;
    const base = makePackage('base');
    const user = makePackage('user', { references: [base.base] });
    for (const one of [base, user]) await putPackage(storage, one);
    for (const path of [base.narPath, base.narInfoPath]) await world.age(path, 9 * HOUR_MS);
    const steps = await all(
      storage.upkeep.collect(limitsNow(), { ...STORE, remove: true, tell: false }, signal),
    );
    assert.deepEqual(
      steps.flatMap((step) => (step.kind === 'removed' ? step.objects : [])).filter((objects) => objects > 0),
      [],
    );
    for (const one of [base, user]) assert.ok(await storage.store.version(one.narPath), one.storePath);
  });

  promise('what is put to be durable, or made so, is there for whoever starts again', async (world) => {
    const { store } = world.storage;
    await put(world.storage, PATH, BODY, { when: 'absent', durable: true });
    await put(world.storage, `${PATH}-2`, BODY);
    await store.sync(`${PATH}-2`);
    await store.sync('/log/00000000000000000000000000000000-nothing.drv');
    const again = await world.again();
    for (const path of [PATH, `${PATH}-2`]) assert.ok((await bodyOf(again, path))?.equals(BODY), path);
  });

  promise(
    'there is room, a small body fits, and what is seen may be believed for a while',
    async ({ storage }) => {
      const { free, total } = await storage.scratch.room();
      assert.ok(free > 0 && total >= free);
      await storage.scratch.checkRoom(1000);
      await storage.scratch.checkRoom(undefined);
      await put(storage, PATH, BODY);
      const seen = await storage.store.version(PATH);
      assert.ok(seen !== undefined && seen.freshForMs > 0);
      let isHeeded = false;
      const before = performance.now();
      await storage.upkeep.heeded().then(() => {
        isHeeded = true;
      });
      assert.ok(isHeeded && performance.now() - before >= seen.freshForMs - 5, 'nobody believes it any more');
    },
  );

  promise('pins, how far a check has come, and the token last', async (world) => {
    const { pushNetrc, upkeep } = world.storage;
    assert.deepEqual([await upkeep.pins(), await upkeep.readProgress()], [[], undefined]);
    await upkeep.pin({ name: 'one', storePath: '/nix/store/x' });
    await upkeep.pin({ name: 'one', storePath: '/nix/store/y' });
    await assert.rejects(upkeep.pin({ name: '../x', storePath: '/nix/store/x' }), { code: 'config' });
    await upkeep.writeProgress('half');
    await pushNetrc.make(undefined);
    const secret = (await pushNetrc.read())?.secret;
    assert.ok(secret);
    const again = await world.again();
    assert.deepEqual(await again.upkeep.pins(), [{ name: 'one', storePath: '/nix/store/y' }]);
    assert.equal(await again.upkeep.readProgress(), 'half');
    await again.pushNetrc.make(undefined);
    assert.equal((await again.pushNetrc.read())?.secret, secret, 'what is there stays');
    assert.equal(await again.upkeep.unpin('one'), true);
    assert.equal(await again.upkeep.unpin('one'), false);
  });
}
