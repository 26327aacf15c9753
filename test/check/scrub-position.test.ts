import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadPosition, type Position, savePosition } from '../../lib/check/scrub-position.ts';
import { isCacheError } from '../../lib/errors.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { idOf } from '../fixtures/holdings.ts';

const AT: Position = {
  startedAt: 1e12,
  objects: 3,
  bytes: 4,
  findings: 5,
  after: { id: idOf('x'), flat: true },
};

test('what was saved last is loaded, and nothing lies beside it', async (t) => {
  const folder = await temporaryFolder(t);
  assert.equal(await loadPosition(folder), undefined);
  for (const position of [AT, { ...AT, after: undefined }]) {
    await savePosition(folder, position);
    assert.deepEqual(await loadPosition(folder), position);
  }
  assert.deepEqual(await readdir(folder), ['scrub.json']);
});

test('what makes no sense is no position; what can not be read is an error', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'scrub.json');
  const right = { format: 1, ...AT };
  await writeFile(file, JSON.stringify(right));
  assert.deepEqual(await loadPosition(folder), AT);
  for (const wrong of [
    ...[{ format: 2 }, { startedAt: -1 }, { objects: 'x' }, { bytes: null }, { findings: undefined }],
    ...[{ after: null }, { after: {} }, { after: { id: 'x', flat: true } }, { after: { id: idOf('x') } }],
  ]) {
    await writeFile(file, JSON.stringify({ ...right, ...wrong }));
    assert.equal(await loadPosition(folder), undefined, JSON.stringify(wrong));
  }
  for (const text of ['', '{', 'null', '[]', '7']) {
    await writeFile(file, text);
    assert.equal(await loadPosition(folder), undefined, text);
  }
  const other = await temporaryFolder(t);
  await mkdir(join(other, 'scrub.json'));
  await assert.rejects(loadPosition(other), (error) => isCacheError(error, 'storage'));
  await assert.rejects(savePosition(other, AT), (error) => isCacheError(error, 'storage'));
});
