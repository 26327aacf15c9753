// Which objects go: against a model that is slow and plain, over random folders; and by hand for each rule.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Catalogue } from '../../lib/store/catalogue.ts';
import { type Limits, planRemovals, type Unit } from '../../lib/store/plan.ts';
import type { Facts } from '../../lib/store/upkeep.ts';
import { idOf } from '../fixtures/holdings.ts';
import { randomSource } from '../fixtures/random.ts';

interface Thing extends Facts {
  readonly id: string;
}

const NOW = 1_000_000_000;
const HOUR = 3_600_000;
const LIMITS: Limits = {
  ...{ freeBytes: 0, mostBytes: Number.POSITIVE_INFINITY, expireBeforeMs: Number.NEGATIVE_INFINITY },
  ...{ keepSinceMs: NOW - HOUR, alsoKeep: [], nowMs: NOW, keepPushed: true, orphanBeforeMs: NOW - 24 * HOUR },
  pinned: new Set(),
};

function thing(name: string, more: Partial<Facts> = {}): Thing {
  return {
    id: idOf(name),
    bytes: 10,
    usedMs: NOW - 100 * HOUR,
    kind: 'other',
    pushed: false,
    ref: undefined,
    ...more,
  };
}

/** A path with its NAR, used so many hours ago. */
function path(name: string, hours: number, more: Partial<Facts> = {}, nar = `${name}.nar`): Thing[] {
  const usedMs = NOW - hours * HOUR;
  return [
    thing(name, { kind: 'narinfo', usedMs, ref: idOf(nar), ...more }),
    thing(nar, { kind: 'nar', usedMs, bytes: 100, ...more }),
  ];
}

function plan(things: readonly Thing[], limits: Partial<Limits>): Unit[] {
  const catalogue = new Catalogue(2);
  for (const { id, ...facts } of things) catalogue.add(id, false, facts);
  return [...planRemovals(catalogue, { ...LIMITS, ...limits }).units];
}

test('what a pushed path refers to stays with it, as far as it was pushed, and as long as it is young', () => {
  const pushed = { pushed: true };
  const things = [
    ...path('young', 0.5, pushed),
    ...path('old', 50, pushed),
    ...path('older', 100, pushed),
    ...path('fetched', 100),
    ...path('behind', 100, pushed),
    ...path('unrelated', 100, pushed),
    ...path('of unrelated', 100, pushed),
    ...path('young, fetched', 0.5),
    ...path('of that', 100, pushed),
  ];
  const references: Record<string, string[]> = {
    young: ['young', 'old', 'fetched', 'absent'],
    old: ['older', 'young'],
    fetched: ['behind'],
    unrelated: ['of unrelated'],
    'young, fetched': ['of that'],
  };
  const catalogue = new Catalogue(2);
  for (const { id, ...facts } of things) catalogue.add(id, false, facts);
  const byId = new Map(Object.entries(references).map(([name, all]) => [idOf(name), all.map(idOf)]));
  const limits = { ...LIMITS, keepPushed: false, expireBeforeMs: NOW };
  const asked: string[] = [];
  const { kept, units } = planRemovals(catalogue, limits, (row) => {
    asked.push(catalogue.id(row));
    return byId.get(catalogue.id(row)) ?? [];
  });
  const gone = new Set([...units].flat().map(({ id }) => id));
  const stay = things.filter(({ id }) => !gone.has(id)).map(({ id }) => id);
  const expected = ['young', 'old', 'older', 'young, fetched'].flatMap((name) => [
    idOf(name),
    idOf(`${name}.nar`),
  ]);
  assert.deepEqual(stay, expected);
  assert.equal(kept.used, 4 * 110);
  assert.deepEqual(
    asked.sort(),
    ['young', 'old', 'older'].map(idOf).sort(),
    'each is read once, and no other',
  );
});

const names = (things: readonly Thing[], units: readonly Unit[]) => {
  const gone = new Set(units.flat().map(({ id }) => id));
  return things.filter(({ id }) => gone.has(id)).length;
};

/** What the limits leave, found the plain way. */
function survivors(things: readonly Thing[], limits: Limits): Set<string> {
  const left = new Map(things.map((one) => [one.id, one]));
  const total = things.reduce((sum, { bytes }) => sum + bytes, 0);
  const free = Math.max(limits.freeBytes, total - limits.mostBytes);
  const named = new Set(things.filter(({ kind }) => kind === 'narinfo').map(({ ref }) => ref));
  const heads = things.filter(({ id, kind, ref }) => {
    if (kind === 'nar' || kind === 'other') return !named.has(id);
    return kind === 'narinfo' || !left.has(ref ?? '');
  });
  const units = heads.map((head) => {
    const listings = things.filter(({ kind, ref }) => kind === 'listing' && ref === head.id).slice(-1);
    const nar = head.kind === 'narinfo' ? left.get(head.ref ?? '') : undefined;
    const parts = [head, ...(head.kind === 'narinfo' ? listings : []), ...(nar === undefined ? [] : [nar])];
    return { head, parts, used: Math.max(...parts.map(({ usedMs }) => usedMs)) };
  });
  const old = units
    .filter(({ head, parts, used }) => {
      if (head.kind === 'narinfo' && limits.pinned.has(head.id)) return false;
      const orphan = head.kind === 'nar' && used < limits.orphanBeforeMs;
      if (limits.keepPushed && !orphan && parts.some(({ pushed }) => pushed)) return false;
      return used < limits.keepSinceMs;
    })
    .sort((a, b) => a.used - b.used);
  let freed = 0;
  for (const { head, parts, used } of old) {
    if (freed >= free && used >= limits.expireBeforeMs) break;
    for (const part of parts) {
      const needed = [...left.values()].some(
        (one) => one.kind === 'narinfo' && one !== head && one.ref === part.id,
      );
      if (part !== head && part.kind !== 'listing' && needed) continue;
      if (left.delete(part.id)) freed += part.bytes;
    }
  }
  return new Set(left.keys());
}

test('the same survive as by the plain rules, whatever the folder (seeded)', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = randomSource(seed);
    const below = (n: number) => Math.floor(random() * n);
    const things: Thing[] = [];
    const usedAt = () => NOW - below(60) * HOUR - things.length;
    const count = below(40);
    for (let i = 0; i < count; i++) {
      const nar = `nar${below(30)}`;
      const pushed = below(4) === 0;
      if (below(8) > 0)
        things.push(thing(`info${i}`, { kind: 'narinfo', pushed, usedMs: usedAt(), ref: idOf(nar) }));
      if (below(2) === 0)
        things.push(thing(`list${i}`, { kind: 'listing', usedMs: usedAt(), ref: idOf(`info${i}`) }));
      if (below(5) === 0) things.push(thing(`log${i}`, { pushed, usedMs: usedAt(), bytes: below(50) }));
    }
    for (let i = 0; i < 30; i++) {
      if (below(3) > 0)
        things.push(
          thing(`nar${i}`, {
            kind: below(4) === 0 ? 'other' : 'nar',
            ...{ usedMs: usedAt(), bytes: below(500), pushed: below(6) === 0 },
          }),
        );
    }
    const limits: Limits = {
      ...LIMITS,
      freeBytes: below(3) === 0 ? below(3000) : 0,
      mostBytes: below(2) === 0 ? below(5000) : Number.POSITIVE_INFINITY,
      expireBeforeMs: below(2) === 0 ? NOW - below(60) * HOUR : Number.NEGATIVE_INFINITY,
      keepPushed: below(3) > 0,
      pinned: new Set([idOf(`info${below(40)}`), idOf(`info${below(40)}`)]),
    };
    const gone = new Set(
      plan(things, limits)
        .flat()
        .map(({ id }) => id),
    );
    const left = new Set(things.map(({ id }) => id).filter((id) => !gone.has(id)));
    assert.deepEqual([...left].sort(), [...survivors(things, limits)].sort(), `seed ${seed}`);
    for (const one of things) {
      const nar = things.find(({ id }) => one.kind === 'narinfo' && id === one.ref);
      if (nar !== undefined && left.has(one.id)) assert.ok(left.has(nar.id), `seed ${seed}: a NAR is gone`);
    }
  }
});

test('the least recently used go first, the narinfo before its NAR, no more than is wanted', () => {
  const things = [...path('a', 10), ...path('b', 30), ...path('c', 20)];
  const [first, ...others] = plan(things, { freeBytes: 50 });
  assert.deepEqual(
    first?.map(({ id }) => id),
    [idOf('b'), idOf('b.nar')],
  );
  assert.deepEqual(others, []);
  assert.equal(names(things, plan(things, { freeBytes: 111 })), 4);
  assert.equal(names(things, plan(things, { mostBytes: 110 })), 4);
  assert.equal(names(things, plan(things, { expireBeforeMs: NOW - 15 * HOUR })), 4);
  assert.deepEqual(plan(things, {}), []);
});

test('a NAR stays while a narinfo needs it, and its use is a use of all of them', () => {
  const shared = [...path('a', 30, {}, 'n'), path('b', 10, {}, 'n')[0] as Thing];
  assert.deepEqual(
    plan(shared, { freeBytes: 5 })
      .flat()
      .map(({ id }) => id),
    [idOf('a')],
  );
  assert.equal(names(shared, plan(shared, { freeBytes: 1000 })), 3);
});

test('so does one that nothing but its narinfos tells to be a NAR, and it goes like one', () => {
  const things = [
    thing('n', { bytes: 100 }),
    ...['a', 'b'].map((name) => path(name, 100, {}, 'n')[0] as Thing),
  ];
  const pinned = new Set([idOf('a')]);
  assert.deepEqual(
    plan(things, { freeBytes: 1000, pinned })
      .flat()
      .map(({ id }) => id),
    [idOf('b')],
  );
  const [first, second] = plan(things, { freeBytes: 1000 });
  assert.deepEqual([first?.length, first?.[0]?.sharedNar?.id], [1, idOf('n')]);
  assert.deepEqual(
    second?.map(({ kind }) => kind),
    ['narinfo', 'nar'],
  );
});

test('what was pushed stays, unless the configuration gives it up; a pushed NAR that nobody names goes', () => {
  const pushed = path('a', 30, { pushed: true });
  assert.deepEqual(plan(pushed, { freeBytes: 1000 }), []);
  assert.equal(names(pushed, plan(pushed, { freeBytes: 1000, keepPushed: false })), 2);
  const mixed = [...path('a', 30, { pushed: true }, 'n'), path('b', 30, {}, 'n')[0] as Thing];
  assert.equal(names(mixed, plan(mixed, { freeBytes: 1000 })), 0, 'its NAR was pushed');
  const orphan = [thing('n', { kind: 'nar', pushed: true, usedMs: NOW - 30 * HOUR })];
  assert.equal(names(orphan, plan(orphan, { freeBytes: 1 })), 1);
  const young = [thing('n', { kind: 'nar', pushed: true, usedMs: NOW - 20 * HOUR })];
  assert.equal(names(young, plan(young, { freeBytes: 1 })), 0);
});

test('what stays is told once, however many paths have it', () => {
  const catalogue = new Catalogue(2);
  const three = ['a', 'b', 'c'].map((name) => path(name, 0, {}, 'n')[0] as Thing);
  for (const { id, ...facts } of [...path('d', 0, {}, 'n'), ...three]) catalogue.add(id, false, facts);
  assert.deepEqual(planRemovals(catalogue, LIMITS).kept, { pushed: 0, pinned: 0, used: 140 });
});

test('what was used within the hour stays, and what the clock says will be used is only the last to go', () => {
  const fresh = path('a', 0.5);
  assert.deepEqual(plan(fresh, { freeBytes: 1000, expireBeforeMs: NOW }), []);
  const future = [...path('a', -1000), ...path('b', 2)];
  assert.deepEqual(
    plan(future, { freeBytes: 1000 }).map((unit) => unit[0]?.id),
    [idOf('b'), idOf('a')],
  );
});
