import assert from 'node:assert/strict';
import { stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readFacts } from '../../../lib/store/folder/facts.ts';
import { barePlaceOf, placeOf } from '../../../lib/store/folder/files.ts';
import { Holdings, idOf } from '../../fixtures/holdings.ts';
import { makePackage } from '../../fixtures/nar.ts';

const ORIGIN = 'https://cache.example.org';

function setUp(holdings: Holdings) {
  return (path: string, flat = false) => {
    const file = flat ? join(holdings.dir, idOf(path)) : holdings.file(path);
    return readFacts(
      { id: idOf(path), file, place: (flat ? barePlaceOf : placeOf)(idOf(path)) },
      '/nix/store',
    );
  };
}

test('an object tells what it is, whose it is and what it needs', async (t) => {
  const holdings = await Holdings.create(t);
  const factsOf = setUp(holdings);
  const references = Array.from({ length: 200 }, (_, i) => makePackage(`reference-${i}`).base);
  const one = makePackage('one', { references });
  await holdings.narInfo(one, 'push');
  await holdings.nar(one, ORIGIN);
  const listing = `/${one.hash}.ls`;
  await holdings.put(listing, 'listing', Buffer.from('{}'), ORIGIN);
  await holdings.put('/log/x.drv', 'log', Buffer.from('text'), 'push');
  for (const [path, kind, pushed, ref] of [
    [one.narInfoPath, 'narinfo', true, idOf(one.narPath)],
    [one.narPath, 'nar', false, undefined],
    [listing, 'listing', false, idOf(one.narInfoPath)],
    ['/log/x.drv', 'other', true, undefined],
  ] as const) {
    const { size, mtimeMs } = await stat(holdings.file(path));
    assert.deepEqual(factsOf(path), { bytes: size, usedMs: mtimeMs, kind, pushed, ref }, path);
  }
  assert.ok(one.narInfo.length > 4096, 'its narinfo is longer than what is read at first');
});

test('of the Go service a narinfo is known by how it begins; all else is anything', async (t) => {
  const holdings = await Holdings.create(t);
  const factsOf = setUp(holdings);
  const one = makePackage('one');
  const texts: [path: string, text: string | Buffer, kind: string, ref?: string][] = [
    [one.narInfoPath, one.narInfo, 'narinfo', idOf(one.narPath)],
    ['/a', one.narInfo.replace(/^NarHash: .*\n/m, ''), 'other'],
    ['/b', `StorePath: ${'x'.repeat(1 << 20)}`, 'other'],
    ['/c', one.file, 'other'],
    ['/d', '', 'other'],
  ];
  for (const [path, text, kind, ref] of texts) {
    await holdings.flat(path, text);
    const facts = factsOf(path, true);
    assert.deepEqual([facts?.kind, facts?.pushed, facts?.ref], [kind, false, ref], path);
  }
});

test('a narinfo of another store needs its NAR all the same', async (t) => {
  const holdings = await Holdings.create(t);
  const factsOf = setUp(holdings);
  const one = makePackage('one', { storeDir: '/opt/my/store' });
  await holdings.narInfo(one, 'push');
  assert.equal(factsOf(one.narInfoPath)?.ref, idOf(one.narPath));
});

test('a header that says more than there is costs nothing but what is there', async (t) => {
  const holdings = await Holdings.create(t);
  const factsOf = setUp(holdings);
  const one = makePackage('one');
  await holdings.narInfo(one, 'push');
  await holdings.edit(one.narInfoPath, (bytes) => {
    const header = bytes.toString('utf8', 0, 1024).replace(/"size":\d+/, `"size":${2 ** 50}`);
    return Buffer.concat([
      Buffer.from(header.trimEnd().padEnd(1023)),
      Buffer.from('\n'),
      bytes.subarray(1024),
    ]);
  });
  assert.deepEqual(
    [factsOf(one.narInfoPath)?.kind, factsOf(one.narInfoPath)?.ref],
    ['narinfo', idOf(one.narPath)],
  );
});

test('what is damaged, no file, or gone tells nothing; a narinfo that is none needs nothing', async (t) => {
  const holdings = await Holdings.create(t);
  const factsOf = setUp(holdings);
  const one = makePackage('one');
  await holdings.nar(one, 'push');
  await holdings.edit(one.narPath, (bytes) => Buffer.concat([Buffer.from('x'), bytes]));
  assert.equal(factsOf(one.narPath), undefined);
  await writeFile(holdings.file(one.narPath), '');
  assert.equal(factsOf(one.narPath), undefined);
  assert.equal(factsOf(one.narInfoPath), undefined);
  await symlink(holdings.dir, join(holdings.dir, idOf('/folder')));
  assert.equal(factsOf('/folder', true), undefined);
  await holdings.narInfo(one, 'push', 'StorePath: nonsense\n');
  assert.deepEqual([factsOf(one.narInfoPath)?.kind, factsOf(one.narInfoPath)?.ref], ['narinfo', undefined]);
});
