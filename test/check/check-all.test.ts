// What a check of a whole folder does beside finding damage: it repairs, takes samples, shows how far it is, and can be ended.
import assert from 'node:assert/strict';
import { mkdir, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { chooser } from '../../lib/check/check-all.ts';
import { parseSample } from '../../lib/commands/verify.ts';
import { Holdings, idOf } from '../fixtures/holdings.ts';
import { makePackage, type Package } from '../fixtures/nar.ts';
import { randomSource } from '../fixtures/random.ts';
import { startUpstream, type TestUpstream, truncated, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';
import { verifyHoldings } from '../fixtures/verified.ts';

const HEADER_BYTES = 1024;
const flip = (bytes: Buffer) => {
  bytes[HEADER_BYTES + 50] = (bytes[HEADER_BYTES + 50] as number) ^ 1;
  return bytes;
};
const noHeader = (bytes: Buffer) => bytes.fill(0, 0, HEADER_BYTES);

async function withUpstream(
  t: TestContext,
  ...all: Package[]
): Promise<{ upstream: TestUpstream; config: { upstreams: ReturnType<typeof upstreamConfig>[] } }> {
  const upstream = await startUpstream(t);
  for (const one of all) {
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
  }
  return { upstream, config: { upstreams: [upstreamConfig(upstream.url)] } };
}

test('--repair fetches anew what is damaged, even where only a narinfo knows what it was', async (t) => {
  const all = [
    makePackage('plain', { size: 300_000 }),
    makePackage('packed', { compression: 'br' }),
    makePackage('both', { compression: 'xz' }),
    makePackage('no-header', { compression: 'br' }),
  ];
  const [plain, packed, both, headless] = all as [Package, Package, Package, Package];
  const { config, upstream } = await withUpstream(t, ...all);
  const holdings = await Holdings.create(t);
  for (const one of all) await holdings.package(one, upstream.url);
  for (const path of [plain.narPath, packed.narInfoPath, both.narPath, both.narInfoPath])
    await holdings.edit(path, flip);
  for (const path of [headless.narPath, headless.narInfoPath]) await holdings.edit(path, noHeader);
  const { events, result } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([result.damaged, result.repaired], [6, 6], events.join('\n'));
  assert.deepEqual((await verifyHoldings(holdings)).events, []);
  for (const one of all) for (const path of [one.narInfoPath, one.narPath]) await stat(holdings.file(path));
  assert.deepEqual(await readdir(`${holdings.dir}/tmp`), []);
});

test('a pushed narinfo stays if its NAR can be had from an upstream, and goes if not', async (t) => {
  const [had, decayed, lost] = [makePackage('had'), makePackage('decayed'), makePackage('lost')];
  const { config } = await withUpstream(t, had, decayed);
  const holdings = await Holdings.create(t);
  await holdings.narInfo(had, 'push');
  await holdings.package(decayed, 'push');
  await holdings.edit(decayed.narPath, flip);
  await holdings.narInfo(lost, 'push');
  const { events, result } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([result.damaged, result.repaired], [3, 2], events.join('\n'));
  assert.ok(events.includes(`not repaired ${lost.narInfoPath} no upstream has it`), events.join('\n'));
  const labels = (await holdings.quarantined()).map(([label]) => label);
  assert.deepEqual(labels, [decayed.narPath, lost.narInfoPath].sort());
  assert.deepEqual((await verifyHoldings(holdings)).events, []);
});

test('what could not be repaired is said, with the reason', async (t) => {
  const [gone, broken, odd] = [makePackage('gone'), makePackage('broken'), makePackage('odd')];
  const { config, upstream } = await withUpstream(t, gone, broken, odd);
  const holdings = await Holdings.create(t);
  for (const one of [gone, broken]) await holdings.package(one, upstream.url);
  await holdings.nar(odd, upstream.url);
  upstream.on(gone.narPath, (_, res) => res.writeHead(404).end());
  upstream.on(broken.narPath, truncated(broken.file, 7));
  for (const one of [gone, broken]) await holdings.edit(one.narPath, flip);
  await holdings.edit(odd.narPath, noHeader);
  const { events, result } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([result.damaged, result.repaired], [3, 0], events.join('\n'));
  const why = events.filter((event) => event.startsWith('not repaired')).join('\n');
  assert.match(why, new RegExp(`^not repaired ${gone.narPath} no upstream has it$`, 'm'));
  assert.match(why, new RegExp(`^not repaired ${broken.narPath} it could not be kept$`, 'm'));
  assert.match(why, /^not repaired [0-9a-f]{64} nobody can tell what it was$/m);
});

test('an upstream that has the same damage repairs nothing', async (t) => {
  const one = makePackage('one', { fields: { NarSize: '7' } });
  const { config, upstream } = await withUpstream(t, one);
  const holdings = await Holdings.create(t);
  await holdings.package(one, upstream.url);
  const { events, result } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([result.damaged, result.repaired], [1, 0]);
  assert.match(events[1] ?? '', /^not repaired .* what came instead: its NarSize is 7/);
});

test('a sample is exactly so many objects, each as likely as any other', () => {
  const random = randomSource(7);
  const counts = new Array<number>(20).fill(0);
  for (let round = 0; round < 2000; round++) {
    const isChosen = chooser(5, 20, random);
    const chosen = counts.map(() => isChosen());
    assert.equal(chosen.filter(Boolean).length, 5);
    for (const [i, yes] of chosen.entries()) if (yes) counts[i] = (counts[i] as number) + 1;
    assert.equal(isChosen(), false, 'what came since is not in it');
  }
  for (const count of counts) assert.ok(Math.abs(count - 500) < 120, String(counts));
});

test('a sample of a folder reads no more than that, and at least one object', async (t) => {
  const holdings = await Holdings.create(t);
  for (let i = 0; i < 40; i++)
    await holdings.put(`/log/${'0'.repeat(32)}-${i}`, 'log', Buffer.from('x'), 'push');
  assert.equal((await verifyHoldings(holdings, { share: 0.25 })).result.objects, 10);
  const { progress, result } = await verifyHoldings(holdings, { share: 0.0001 });
  assert.equal(result.objects, 1);
  assert.equal(progress.at(-1)?.done, 1);
});

test('--sample is a share above nothing and up to all', () => {
  assert.deepEqual(['5%', '5', '0.5%', '100%'].map(parseSample), [0.05, 0.05, 0.005, 1]);
  for (const text of ['', '%', '0%', '101%', '-5%', '5%%', 'all', '5 %', 'NaN'])
    assert.throws(() => parseSample(text), /--sample: found .*, expected a share such as 5%/, text);
});

test('progress never turns back and ends at the end', async (t) => {
  const holdings = await Holdings.create(t);
  for (let i = 0; i < 10; i++)
    await holdings.package(makePackage(`p${i}`, { size: 200_000, compression: 'br' }), 'push');
  const { progress, result } = await verifyHoldings(holdings);
  const shares = progress.map(({ done }) => done);
  assert.deepEqual(
    shares,
    shares.toSorted((a, b) => a - b),
  );
  assert.equal(shares.at(-1), 1);
  assert.equal(result.objects, 20);
  // Each NAR once, and headers and narinfos once or twice more.
  assert.ok((progress.at(-1)?.bytes ?? 0) < 1.1 * result.bytes + 20 * 10_000);
});

test('it can be ended in the middle, and says what it has seen until then', async (t) => {
  const holdings = await Holdings.create(t);
  for (let i = 0; i < 10; i++) await holdings.package(makePackage(`p${i}`), 'push');
  const { result } = await verifyHoldings(holdings, {
    onProgress: (stop) => stop.abort(new Error('enough')),
  });
  assert.ok(result.interrupted);
  assert.ok(result.objects < 20);
});

test('an empty folder is right', async (t) => {
  const { result } = await verifyHoldings(await Holdings.create(t));
  assert.deepEqual([result.objects, result.damaged, result.interrupted], [0, 0, false]);
});

test('a file that can not be read is said, and the others are checked all the same', async (t) => {
  const holdings = await Holdings.create(t);
  const [one, loop] = [makePackage('one'), makePackage('loop')];
  await holdings.package(one, 'push');
  await holdings.edit(one.narPath, flip);
  const file = holdings.file(loop.narPath);
  await mkdir(dirname(file), { recursive: true });
  await symlink(file, file);
  const { events, result } = await verifyHoldings(holdings);
  assert.deepEqual([result.damaged, result.doubtful], [2, 1], events.join('\n'));
  assert.ok(
    events.some((event) => event.includes(`can't read ${file}: ELOOP`)),
    events.join('\n'),
  );
  assert.deepEqual(await holdings.ids(), [idOf(loop.narPath)]);
});

test('what a check without --repair has set aside is had again by one with it', async (t) => {
  const all = ['nar', 'info', 'both', 'only pushed'].map((name) => makePackage(name.replace(' ', '-')));
  const [nar, info, both, alone] = all as [Package, Package, Package, Package];
  const { config, upstream } = await withUpstream(t, nar, info, both);
  const holdings = await Holdings.create(t);
  for (const one of [nar, info, both]) await holdings.package(one, upstream.url);
  await holdings.package(alone, 'push');
  for (const path of [nar.narPath, info.narInfoPath, both.narPath, both.narInfoPath, alone.narPath])
    await holdings.edit(path, flip);
  const first = await verifyHoldings(holdings, { config });
  assert.deepEqual([first.result.damaged, first.result.repaired], [6, 0], first.events.join('\n'));
  const { events, result } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([result.damaged, result.repaired], [6, 4], events.join('\n'));
  for (const path of [alone.narPath, alone.narInfoPath])
    assert.ok(events.includes(`not repaired ${path} no upstream has it`), events.join('\n'));
  for (const one of [nar, info, both])
    for (const path of [one.narInfoPath, one.narPath]) await stat(holdings.file(path));
  const left = (await holdings.quarantined()).map(([label]) => label);
  assert.deepEqual(left, [alone.narPath, alone.narInfoPath].sort());
  const again = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([again.result.damaged, again.result.repaired], [2, 0], 'it goes on being said');
  await holdings.package(alone, 'push');
  const mended = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([mended.result.damaged, mended.events], [0, []], 'until it is pushed again');
  assert.deepEqual(await holdings.quarantined(), []);
});

test('a full disk leaves no room for why something was set aside: it is had again all the same', async (t) => {
  const [kept, packed, deleted] = [
    makePackage('kept'),
    makePackage('packed', { compression: 'xz' }),
    makePackage('gone'),
  ];
  const { config, upstream } = await withUpstream(t, kept, packed);
  const holdings = await Holdings.create(t);
  for (const one of [kept, packed, deleted]) await holdings.package(one, upstream.url);
  for (const path of [kept.narPath, kept.narInfoPath, packed.narPath, packed.narInfoPath, deleted.narPath])
    await holdings.edit(path, flip);
  assert.equal((await verifyHoldings(holdings, { config })).result.damaged, 5);
  const aside = join(holdings.dir, 'quarantine');
  for (const name of await readdir(aside)) {
    const file = join(aside, name);
    const isOf = (path: string) => name.startsWith(idOf(path));
    if (isOf(deleted.narPath) && !name.endsWith('.reason')) await rm(file);
    if (!name.endsWith('.reason') || isOf(deleted.narPath)) continue;
    if (isOf(kept.narPath) || isOf(kept.narInfoPath)) await writeFile(file, '');
    else await rm(file);
  }
  await mkdir(join(aside, `${idOf('/folder')}-1`));
  const { events, result } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([result.damaged, result.repaired], [4, 4], events.join('\n'));
  for (const one of [kept, packed])
    for (const path of [one.narInfoPath, one.narPath]) await stat(holdings.file(path));
});

test('a pushed narinfo that was set aside for its NAR alone comes back with that', async (t) => {
  const one = makePackage('one');
  const { config } = await withUpstream(t, one);
  const holdings = await Holdings.create(t);
  await holdings.package(one, 'push');
  await holdings.edit(one.narPath, flip);
  assert.equal((await verifyHoldings(holdings)).result.damaged, 2);
  await assert.rejects(stat(holdings.file(one.narInfoPath)));
  const { events, result } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual([result.damaged, result.repaired], [2, 2], events.join('\n'));
  const object = await holdings.storage.store.open(one.narInfoPath);
  assert.equal(object?.meta.origin, 'push', 'it is the pushed one, not what the upstream has');
  await object?.close();
  assert.deepEqual(await holdings.quarantined(), []);
});

test('what an interrupted rm has left in quarantine does not come back', async (t) => {
  const one = makePackage('one');
  const { config, upstream } = await withUpstream(t, one);
  const holdings = await Holdings.create(t);
  await holdings.package(one, upstream.url);
  await holdings.storage.upkeep.withdraw(idOf(one.narInfoPath));
  const { events } = await verifyHoldings(holdings, { config, repair: true });
  assert.deepEqual(events, []);
  await assert.rejects(stat(holdings.file(one.narInfoPath)));
});
