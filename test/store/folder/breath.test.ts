import assert from 'node:assert/strict';
import { test } from 'node:test';
import { breathing } from '../../../lib/store/folder/breath.ts';

test('all of them come, with a pause after every so many', (t) => {
  const deeds: string[] = [];
  t.mock.method(Atomics, 'wait', (_: Int32Array, __: number, ___: number, ms: number) => {
    deeds.push(`${ms} ms`);
    return 'timed-out';
  });
  for (const one of breathing(['a', 'b', 'c', 'd', 'e'], 2)) deeds.push(one);
  assert.deepEqual(deeds, ['a', 'b', '1 ms', 'c', 'd', '1 ms', 'e']);
});
