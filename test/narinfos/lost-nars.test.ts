import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LostNars } from '../../lib/narinfos/lost-nars.ts';
import type { NarName } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';

const HASH = '0'.repeat(32) as StoreHash;
const NAR = 'a.nar' as NarName;

test('a NAR is lost for five seconds, for its path alone and under its name alone', () => {
  let now = 5;
  const lost = new LostNars(() => now);
  lost.add(HASH, NAR);
  now += 5000 - 1;
  assert.equal(lost.has(HASH, NAR), true);
  assert.equal(lost.has(HASH, 'b.nar' as NarName), false, 'a narinfo may name another one by now');
  assert.equal(lost.has('1'.repeat(32) as StoreHash, NAR), false);
  assert.equal(lost.has(HASH), true);
  now += 1;
  assert.equal(lost.has(HASH, NAR), false);
  assert.equal(lost.has(HASH), false);
});

test('no more are remembered than ten thousand', () => {
  const lost = new LostNars(() => 0);
  for (let i = 0; i < 10_001; i++) lost.add(String(i).padStart(32, '0') as StoreHash, NAR);
  assert.equal(lost.has(HASH, NAR), false);
  assert.equal(lost.has('10000'.padStart(32, '0') as StoreHash, NAR), true);
});
