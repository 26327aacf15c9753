import assert from 'node:assert/strict';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { changing, lastChange } from '../../../lib/store/folder/changed-beside.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { until } from '../../fixtures/patience.ts';

test('a change is noted when it begins and when it ends, also badly', async (t) => {
  const folder = await temporaryFolder(t);
  assert.equal(await lastChange(folder), 0);
  const later = async (than: number) => {
    // The disk's clock goes in steps.
    await until(async () => {
      await changing(folder, async () => {});
      return (await lastChange(folder)) > than;
    }, 'the clock of the disk to go on');
    return lastChange(folder);
  };
  const before = await later(0);
  const during = await changing(folder, () => lastChange(folder));
  assert.ok(during >= before && during > 0);
  const between = await later(during);
  await assert.rejects(
    changing(folder, async () => {
      await until(() => Date.now() > between + 20, 'time to pass');
      throw new Error('it failed');
    }),
    /it failed/,
  );
  assert.ok((await lastChange(folder)) > between);
});

test('each of the two notes is made, whatever becomes of the other', async (t) => {
  const folder = await temporaryFolder(t);
  await changing(folder, async () => {});
  const forget = () => utimes(join(folder, 'changed'), 1, 1);
  await forget();
  await changing(folder, async () => {
    assert.notEqual(await lastChange(folder), 1000);
    await forget();
  });
  assert.notEqual(await lastChange(folder), 1000);
});

test('where nothing can be noted, it is done all the same', async (t) => {
  const missing = join(await temporaryFolder(t), 'missing');
  assert.equal(await changing(missing, async () => 5), 5);
  assert.equal(await lastChange(missing), 0);
});
