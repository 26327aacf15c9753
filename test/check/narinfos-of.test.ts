import assert from 'node:assert/strict';
import { test } from 'node:test';
import { narInfosOf } from '../../lib/check/narinfos-of.ts';
import { Holdings, idOf } from '../fixtures/holdings.ts';
import { makePackage } from '../fixtures/nar.ts';

const ORIGIN = 'https://cache.example.org';

async function naming(holdings: Holdings, ...nars: string[]): Promise<string[]> {
  const { signal } = new AbortController();
  const found: string[] = [];
  for await (const { finding, id, pushed } of narInfosOf(
    holdings.storage.upkeep,
    '/nix/store',
    new Set(nars.map(idOf)),
    signal,
  ))
    found.push(
      `${finding.label} ${pushed ? 'pushed' : 'fetched'} ${nars.findIndex((nar) => idOf(nar) === id)}`,
    );
  return found.sort();
}

test('the narinfos that name one of the NARs, and no others, with how they came', async (t) => {
  const holdings = await Holdings.create(t);
  const [lost, other] = [makePackage('lost'), makePackage('other')];
  const same = makePackage('same', { seed: 'lost' });
  const flat = makePackage('flat');
  assert.equal(same.narPath, lost.narPath);
  await holdings.narInfo(lost, 'push');
  await holdings.narInfo(same, ORIGIN);
  await holdings.package(other, 'push');
  await holdings.flat(flat.narInfoPath, flat.narInfo);
  assert.deepEqual(
    await naming(holdings, lost.narPath, flat.narPath),
    [`${lost.narInfoPath} pushed 0`, `${same.narInfoPath} fetched 0`, `${flat.narInfoPath} fetched 1`].sort(),
  );
  assert.deepEqual(await naming(holdings), []);
});

test('one that is damaged itself names nothing', async (t) => {
  const holdings = await Holdings.create(t);
  const [cut, wrong, right] = [makePackage('cut'), makePackage('wrong'), makePackage('right')];
  for (const one of [cut, wrong, right]) await holdings.narInfo(one, 'push');
  await holdings.edit(cut.narInfoPath, (bytes) => bytes.subarray(0, bytes.length - 5));
  await holdings.edit(wrong.narInfoPath, (bytes) => bytes.subarray(100));
  const found = await naming(holdings, cut.narPath, wrong.narPath, right.narPath);
  assert.deepEqual(found, [`${right.narInfoPath} pushed 2`]);
});
