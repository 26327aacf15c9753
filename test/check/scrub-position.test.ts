import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadPosition, type Position, savePosition } from '../../lib/check/scrub-position.ts';
import { isCacheError } from '../../lib/errors.ts';
import type { Place } from '../../lib/store/upkeep.ts';
import { Holdings } from '../fixtures/holdings.ts';

const AT: Position = { startedAt: 1e12, objects: 3, bytes: 4, findings: 5, after: 'somewhere' as Place };

test('what was saved last is loaded, and nothing lies beside it', async (t) => {
  const { dir, storage } = await Holdings.create(t);
  const { upkeep } = storage;
  assert.equal(await loadPosition(upkeep), undefined);
  for (const position of [AT, { ...AT, after: undefined }]) {
    await savePosition(upkeep, position);
    assert.deepEqual(await loadPosition(upkeep), position);
  }
  assert.deepEqual(await readdir(dir), ['scrub.json']);
});

test('what makes no sense is no position; what can not be read is an error', async (t) => {
  const { upkeep } = (await Holdings.create(t)).storage;
  const right = { format: 2, ...AT };
  await upkeep.writeProgress(JSON.stringify(right));
  assert.deepEqual(await loadPosition(upkeep), AT);
  for (const wrong of [
    ...[{ format: 1 }, { startedAt: -1 }, { objects: 'x' }, { bytes: null }, { findings: undefined }],
    ...[{ after: null }, { after: {} }, { after: { id: 'x', flat: true } }, { after: 7 }],
  ]) {
    await upkeep.writeProgress(JSON.stringify({ ...right, ...wrong }));
    assert.equal(await loadPosition(upkeep), undefined, JSON.stringify(wrong));
  }
  for (const text of ['', '{', 'null', '[]', '7']) {
    await upkeep.writeProgress(text);
    assert.equal(await loadPosition(upkeep), undefined, text);
  }
  const other = await Holdings.create(t);
  await mkdir(join(other.dir, 'scrub.json'));
  await assert.rejects(loadPosition(other.storage.upkeep), (error) => isCacheError(error, 'storage'));
  await assert.rejects(savePosition(other.storage.upkeep, AT), (error) => isCacheError(error, 'storage'));
});
