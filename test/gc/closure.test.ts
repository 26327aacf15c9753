import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closureOf } from '../../lib/gc/closure.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { makePackage } from '../fixtures/nar.ts';

test('all that is referred to, each once; what is missing, damaged or none of ours is missing', async (t) => {
  const holdings = await Holdings.create(t);
  const [lost, damaged, foreign] = ['lost', 'damaged', 'foreign'].map((name) => makePackage(name));
  if (lost === undefined || damaged === undefined || foreign === undefined) assert.fail();
  const leaf = makePackage('leaf', { references: [lost.base] });
  const middle = makePackage('middle', { references: [leaf.base, damaged.base, foreign.base] });
  // A path may refer to itself.
  const { base } = makePackage('top');
  const top = makePackage('top', { references: [base, leaf.base, middle.base] });
  for (const one of [damaged, leaf, middle, top]) await holdings.narInfo(one, 'push');
  await holdings.narInfo(foreign, 'push', foreign.narInfo.replaceAll('/nix/store', '/other/store'));
  await holdings.edit(damaged.narInfoPath, (bytes) => bytes.subarray(0, bytes.length - 3));
  const { infos, missing } = await closureOf(holdings.storage.store, '/nix/store', [top.hash as StoreHash]);
  assert.deepEqual([...infos.keys()], [top.hash, leaf.hash, middle.hash]);
  assert.deepEqual([...missing].sort(), [lost.hash, damaged.hash, foreign.hash].sort());
});
