import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Member, ordersOf } from '../../lib/ahead/orders.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';

/** `hash name needs...`, a line each. */
function members(text: string): Member[] {
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [hash = '', name = '', ...references] = line.trim().split(' ');
      return { hash: hash as StoreHash, name, references: references as StoreHash[] };
    });
}

// As seen: p-1-0 needs three leaves, and so on; real clients asked for their NARs as the test says.
const dag = `
  9 top 5 1
  5 p-1-0 7 3 8 5
  1 p-1-1 3 8
  7 p-0-0 zz
  3 p-0-2
  8 p-0-1 8
`;

test('what Nix builds comes by name, as soon as what it needs has come', () => {
  assert.deepEqual(ordersOf(members(dag))[0]?.join(' '), '7 8 3 5 1 9');
});

test('what Nix copies comes by hash, what has to wait behind the rest', () => {
  assert.deepEqual(ordersOf(members(dag))[1]?.join(' '), '3 7 8 1 5 9');
});

test('what older ones copy comes by hash, each behind what it needs', () => {
  assert.deepEqual(ordersOf(members(dag))[2]?.join(' '), '3 8 1 7 5 9');
});

test('paths that need each other all come, once, and what needs them behind', () => {
  const round = members(`
    4 a 5
    5 b 4 6
    6 c
    2 d 4
  `);
  for (const order of ordersOf(round)) assert.deepEqual([...order].sort(), ['2', '4', '5', '6']);
  assert.deepEqual(ordersOf([]), [[], [], []]);
});

test('of any closure each order has what is needed before what needs it, in little time', () => {
  const count = 20_000;
  const hashOf = (n: number) => `${(n * 7919) % count}`.padStart(5, '0');
  const deep = Array.from({ length: count }, (_, n) => {
    const needs = n === 0 ? [] : [n - 1, n >> 1, (n * 31) % n].map(hashOf);
    return { hash: hashOf(n), name: `p-${(n * 104_729) % count}`, references: needs } as unknown as Member;
  });
  for (const order of ordersOf(deep)) {
    const at = new Map(order.map((hash, index) => [hash, index]));
    assert.equal(at.size, count);
    for (const { hash, references } of deep)
      for (const one of references) assert.ok((at.get(one) ?? 0) < (at.get(hash) ?? 0));
  }
});
