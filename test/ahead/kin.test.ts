// What belongs to a path: the closures that it is in, and nothing beside them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kin } from '../../lib/ahead/kin.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';

const LETTERS: Record<string, string> = {
  // Two programs that share a library, one that stands alone, and two that need each other.
  ...{ a: 'lc', b: 'l', l: 'c', c: 'c', x: 'y', y: 'x', z: '?' },
};
const kin = new Kin(
  Object.entries(LETTERS).map(([hash, needs]) => ({
    hash: hash as StoreHash,
    name: hash,
    references: [...needs] as StoreHash[],
  })),
);

for (const [hash, expected] of [
  ['a', 'acl'],
  ['b', 'bcl'],
  ['l', 'abcl'],
  ['c', 'abcl'],
  ['x', 'xy'],
  ['y', 'xy'],
  ['z', 'z'],
  ['?', '?'],
] as const)
  test(`with ${hash} come ${expected}`, () => {
    assert.equal([...kin.of(hash as StoreHash)].sort().join(''), expected);
  });
