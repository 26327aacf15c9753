// Whose a temporary file is, from one container to another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSomebodys } from '../../../lib/store/folder/writer.ts';
import { until } from '../../fixtures/patience.ts';
import { other, setUp } from '../../fixtures/writers.ts';
import { needRoot } from '../fixtures/need-root.ts';

test('a process that lives has its files from one container to another', {
  skip: needRoot('unshare'),
}, async (t) => {
  const { dir, tmp } = await setUp(t);
  const container = ['unshare', '--pid', '--net', '--fork', '--kill-child', '--mount-proc'];
  const { kill, name } = await other(t, dir, true, ...container);
  assert.match(name, /^1\./);
  for (const sole of [true, false]) assert.equal(await isSomebodys(tmp, name, sole), true);
  await kill();
  await until(async () => !(await isSomebodys(tmp, name, false)), 'it to be gone');
  const silent = await other(t, dir, false, ...container);
  assert.equal(await isSomebodys(tmp, silent.name, false), true, 'nobody can tell');
  assert.equal(await isSomebodys(tmp, silent.name, true), false, 'it would have a socket');
});
