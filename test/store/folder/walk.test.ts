import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { type Place, walkFolder, walkFolderSync } from '../../../lib/store/folder/walk.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';

const IDS = Array.from({ length: 600 }, (_, i) => idOf(String(i))).sort();
const FLAT = IDS.slice(100, 300);
const ALL: readonly Place[] = [
  ...IDS.map((id) => ({ id, flat: false })),
  ...FLAT.map((id) => ({ id, flat: true })),
];

async function walked(folder: string, after?: Place): Promise<Place[]> {
  const places: Place[] = [];
  for await (const { id, flat, file } of walkFolder(folder, after)) {
    assert.equal(file, flat ? join(folder, id) : join(folder, id.slice(0, 2), id));
    places.push({ id, flat });
  }
  return places;
}

test('all objects in the order of their ids, then those of the Go service; nothing else', async (t) => {
  const folder = await temporaryFolder(t);
  for (const { id, flat } of ALL) {
    const shelf = flat ? folder : join(folder, id.slice(0, 2));
    await mkdir(shelf, { recursive: true });
    await writeFile(join(shelf, id), '');
  }
  for (const name of ['tmp', 'quarantine']) await mkdir(join(folder, name));
  for (const name of ['tmp/x', '00x', `${IDS[0]}-1`, `${IDS[0]?.slice(0, 2)}/note`])
    await writeFile(join(folder, name), '');
  assert.deepEqual(await walked(folder), ALL);
  assert.deepEqual(
    [...walkFolderSync(folder)].map(({ id, flat }) => ({ id, flat })),
    ALL,
  );
  for (const index of [0, 1, 299, 598, 599, 600, 601, 798, 799])
    assert.deepEqual(await walked(folder, ALL[index]), ALL.slice(index + 1), `behind ${index}`);
  const gone = { id: idOf('gone'), flat: true };
  assert.deepEqual(
    await walked(folder, gone),
    ALL.filter(({ id, flat }) => flat && id > gone.id),
    'behind what is no longer there',
  );
});

test('a folder that is not there is no empty one', async (t) => {
  const missing = join(await temporaryFolder(t), 'missing');
  const isStorage = (error: unknown) => isCacheError(error, 'storage');
  await assert.rejects(walked(missing), isStorage);
  assert.throws(() => [...walkFolderSync(missing)], isStorage);
});
