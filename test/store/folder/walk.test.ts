import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { barePlaceOf, placeOf } from '../../../lib/store/folder/files.ts';
import { breathing, walkFolder, walkFolderSync } from '../../../lib/store/folder/walk.ts';
import type { Place } from '../../../lib/store/upkeep.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';

const IDS = Array.from({ length: 600 }, (_, i) => idOf(String(i))).sort();
const FLAT = IDS.slice(100, 300);
const ALL: readonly Place[] = [...IDS.map(placeOf), ...FLAT.map(barePlaceOf)];

async function walked(folder: string, after?: Place): Promise<Place[]> {
  const places: Place[] = [];
  for await (const { id, file, place } of walkFolder(folder, after)) {
    assert.equal(file, join(folder, place));
    assert.equal(id, place.slice(-64));
    places.push(place);
  }
  return places;
}

test('all objects in the order of their ids, then those of the Go service; nothing else', async (t) => {
  const folder = await temporaryFolder(t);
  for (const place of ALL) {
    const file = join(folder, place);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, '');
  }
  for (const name of ['tmp', 'quarantine']) await mkdir(join(folder, name));
  for (const name of ['tmp/x', '00x', `${IDS[0]}-1`, `${IDS[0]?.slice(0, 2)}/note`])
    await writeFile(join(folder, name), '');
  assert.deepEqual(await walked(folder), ALL);
  assert.deepEqual(
    [...walkFolderSync(folder)].map(({ place }) => place),
    ALL,
  );
  for (const index of [0, 1, 299, 598, 599, 600, 601, 798, 799])
    assert.deepEqual(await walked(folder, ALL[index]), ALL.slice(index + 1), `behind ${index}`);
  const gone = barePlaceOf(idOf('gone'));
  assert.deepEqual(
    await walked(folder, gone),
    ALL.slice(IDS.length).filter((place) => place > gone),
    'behind what is no longer there',
  );
});

test('a folder that is not there is no empty one', async (t) => {
  const missing = join(await temporaryFolder(t), 'missing');
  const isStorage = (error: unknown) => isCacheError(error, 'storage');
  await assert.rejects(walked(missing), isStorage);
  assert.throws(() => [...walkFolderSync(missing)], isStorage);
});

test('all of them come, with a pause after every so many', (t) => {
  const deeds: string[] = [];
  t.mock.method(Atomics, 'wait', (_: Int32Array, __: number, ___: number, ms: number) => {
    deeds.push(`${ms} ms`);
    return 'timed-out';
  });
  for (const one of breathing(['a', 'b', 'c', 'd', 'e'], 2)) deeds.push(one);
  assert.deepEqual(deeds, ['a', 'b', '1 ms', 'c', 'd', '1 ms', 'e']);
});
