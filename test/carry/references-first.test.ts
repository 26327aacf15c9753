import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { inOrder, type Load, lookAhead, referencesFirst } from '../../lib/carry/references-first.ts';
import type { NarInfo } from '../../lib/nix/narinfo.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';

const hashOf = (name: string) => name.padStart(32, '0') as StoreHash;
const base = (name: string) => `${hashOf(name)}-${name}`;

/** A graph by names; what is not in it has no narinfo. */
function graph(edges: Readonly<Record<string, readonly string[]>>) {
  const loaded: string[] = [];
  const load: Load<{ info: NarInfo; name: string }> = async (hash, label) => {
    const name = hash.replace(/^0+/, '');
    loaded.push(`${name} as ${label}`);
    const references = edges[name]?.map(base);
    return references && { name, info: { references } as Partial<NarInfo> as NarInfo };
  };
  return { load, loaded };
}

const roots = (...names: string[]) => new Map(names.map((name) => [hashOf(name), name]));
const EDGES = { a: ['a', 'b', 'c'], b: ['d'], c: ['b', 'd', 'x'], d: [], e: ['c'] };

test('what a path refers to comes before it, and everything once', async () => {
  const { load, loaded } = graph(EDGES);
  const order: string[] = [];
  for await (const { name } of referencesFirst(roots('a', 'e', 'b'), load)) order.push(name);
  assert.deepEqual(order, ['d', 'b', 'c', 'a', 'e']);
  assert.deepEqual(loaded.sort(), [
    ...[
      'a as a',
      `b as ${base('b')}`,
      `c as ${base('c')}`,
      `d as ${base('d')}`,
      'e as e',
      `x as ${base('x')}`,
    ],
  ]);
});

test('a look ahead counts every path once, those that are left out among them', async () => {
  const { load, loaded } = graph(EDGES);
  assert.equal(await lookAhead(roots('a', 'e'), load), 6);
  assert.equal(loaded.length, 6);
});

/** Works that end when told to. */
function works() {
  const begun: number[] = [];
  const finished: number[] = [];
  const enders = new Map<number, { end: () => void; fail: (error: Error) => void }>();
  const begin = (item: number) => {
    begun.push(item);
    return new Promise<() => Promise<void>>((resolve, reject) => {
      const end = () => resolve(async () => void finished.push(item));
      enders.set(item, { end, fail: reject });
    });
  };
  return { begin, begun, enders, finished };
}

async function* numbers(): AsyncGenerator<number> {
  for (let i = 0; i < 5; i++) yield i;
}

const settle = async () => {
  for (let i = 0; i < 20; i++) await turn();
};

test('so many are begun ahead, and finished in their order, whichever is ready first', async () => {
  const { begin, begun, enders, finished } = works();
  const all = inOrder(numbers(), 2, begin);
  await settle();
  assert.deepEqual([begun, finished], [[0, 1], []]);
  enders.get(1)?.end();
  await settle();
  assert.deepEqual([begun, finished], [[0, 1], []]);
  enders.get(0)?.end();
  await settle();
  assert.deepEqual(finished, [0, 1]);
  assert.deepEqual(begun, [0, 1, 2, 3]);
  for (const item of [2, 3, 4]) {
    await settle();
    enders.get(item)?.end();
  }
  await all;
  assert.deepEqual(finished, [0, 1, 2, 3, 4]);
});

test('one that fails ends it, but not before the others that were begun have ended', async () => {
  const { begin, enders, finished } = works();
  let ended = false;
  const all = inOrder(numbers(), 2, begin).finally(() => {
    ended = true;
  });
  all.catch(() => {});
  await settle();
  enders.get(0)?.fail(new Error('no room'));
  await settle();
  assert.equal(ended, false);
  enders.get(1)?.end();
  await assert.rejects(all, /no room/);
  assert.deepEqual(finished, []);
});
