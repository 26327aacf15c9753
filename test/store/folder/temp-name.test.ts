import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tempName } from '../../../lib/store/folder/temp-name.ts';
import { OWN } from '../../../lib/store/folder/writer.ts';

test('each has a name of its own, which tells whose it is', () => {
  const names = Array.from({ length: 100 }, () => tempName());
  assert.equal(new Set(names).size, 100);
  for (const name of names) assert.ok(name.startsWith(`${OWN}-`) && /^[\w.-]+$/.test(name), name);
});
