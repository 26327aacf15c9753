import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Expected, Plan } from '../../lib/ahead/batch.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';

const hashOf = (n: number) => `${n}`.padStart(32, '0') as StoreHash;

/** So many that one last needs, of so many bytes; their names go the other way than their hashes. */
function wide(count: number, bytes = 100): Expected[] {
  const all = leaves(count, bytes);
  const top = {
    hash: 'z'.repeat(32),
    name: 'z',
    references: all.map(({ hash }) => hash),
    bytes: 1,
    narName: 'z.nar',
  };
  return [...all, top as unknown as Expected];
}

function leaves(count: number, bytes = 100): Expected[] {
  return Array.from({ length: count }, (_, n) => {
    const name = `p-${`${count - n}`.padStart(6, '0')}`;
    return { hash: hashOf(n), name, references: [], bytes, narName: `${n}.nar` } as unknown as Expected;
  });
}

/** All that come next, until enough are ahead. */
function fill(plan: Plan): StoreHash[] {
  const all: StoreHash[] = [];
  for (let one = plan.next(); one !== undefined; one = plan.next()) all.push(one.hash);
  return all;
}

test('so many are ahead of a client, and one more for each that it takes', () => {
  const plan = new Plan(wide(1000));
  plan.take(hashOf(0), false);
  assert.equal(fill(plan).length, 64);
  plan.take(hashOf(1), false);
  plan.take(hashOf(2), false);
  assert.equal(fill(plan).length, 2);
});

test('those come next that the client will ask for next, as far as it shows how it goes through them', () => {
  const all = wide(1000);
  const byHash = new Plan(all);
  byHash.take(hashOf(0), false);
  assert.deepEqual(fill(byHash).slice(0, 3), [1, 2, 3].map(hashOf));
  const byName = new Plan(all);
  byName.take(hashOf(999), false);
  assert.deepEqual(fill(byName).slice(0, 3), [998, 997, 996].map(hashOf));
  // One that began as if by its hash, and goes by names.
  const turned = new Plan(all);
  turned.take(hashOf(0), false);
  fill(turned);
  for (let n = 999; n > 900; n--) turned.take(hashOf(n), false);
  assert.deepEqual(fill(turned).slice(0, 3), [900, 899, 898].map(hashOf));
});

test('a client that waits for what is on its way has more ahead of it, one that takes others too, within bounds', () => {
  const plan = new Plan(wide(10_000));
  plan.take(hashOf(0), false);
  fill(plan);
  for (let n = 1; n < 80; n++) plan.take(hashOf(n), true);
  let ahead = fill(plan).length;
  assert.equal(ahead, 64 + 80 / 8);
  for (let n = 9999; n > 9000; n -= 2) plan.take(hashOf(n), false);
  ahead += fill(plan).length;
  assert.equal(ahead, 64 + Math.floor(580 / 8));
});

test('bytes are bounded too, but one of any size is ahead', () => {
  const plan = new Plan(wide(100, 8 << 20));
  plan.take(hashOf(0), false);
  assert.equal(fill(plan).length, 4);
  const huge = new Plan(wide(10, 100 << 20));
  huge.take(hashOf(0), false);
  assert.equal(fill(huge).length, 1);
  assert.equal(fill(huge).length, 0);
  huge.take(hashOf(1), true);
  assert.deepEqual(fill(huge), [hashOf(2)]);
});

test('what was put back comes next again, unless it was asked for meanwhile', () => {
  const plan = new Plan(wide(10));
  plan.take(hashOf(0), false);
  assert.equal(fill(plan).length, 10);
  plan.putBack(hashOf(5));
  plan.putBack(hashOf(3));
  plan.take(hashOf(5), false);
  plan.putBack(hashOf(5));
  assert.deepEqual(fill(plan), [hashOf(3)]);
  plan.take(hashOf(77), false);
  assert.deepEqual(fill(plan), [], 'one that was not expected at all');
});

test('what belongs to no closure that the client has begun is not expected, until it begins that', () => {
  const rename = (one: Expected, prefix: string) => {
    const named = (hash: string) => `${prefix}${hash.slice(1)}` as StoreHash;
    return { ...one, hash: named(one.hash), references: one.references.map(named) };
  };
  const [built, looked] = ['1', '2'].map((prefix) => wide(10).map((one) => rename(one, prefix)));
  const alone = leaves(3).map((one) => rename(one, '3'));
  const plan = new Plan([...(built ?? []), ...(looked ?? []), ...alone]);
  const [first, other, single] = ['1', '2', '3'].map(
    (prefix) => `${prefix}${hashOf(0).slice(1)}` as StoreHash,
  );
  plan.take(first as StoreHash, false);
  assert.deepEqual(new Set(fill(plan).map(([digit]) => digit)), new Set(['1']));
  plan.take(single as StoreHash, false);
  assert.deepEqual(fill(plan), []);
  plan.take(other as StoreHash, false);
  assert.equal(fill(plan).length, 10);
});
