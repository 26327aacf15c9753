import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCacheInfo, storeDirOf } from '../../lib/nix/cache-info.ts';

test('all three fields are always written, and the file ends with a newline', () => {
  const text = formatCacheInfo({ storeDir: '/nix/store', wantMassQuery: false, priority: 0 });
  assert.equal(text, 'StoreDir: /nix/store\nWantMassQuery: 0\nPriority: 0\n');
});

test('the store folder is found as clients find it', () => {
  assert.equal(storeDirOf('StoreDir: /nix/store\n'), '/nix/store');
  assert.equal(storeDirOf('Priority: 1\n StoreDir :/x \n'), '/x');
  assert.equal(storeDirOf('Priority: 1\n'), undefined);
});
