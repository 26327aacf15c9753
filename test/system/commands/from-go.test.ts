import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, push } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { field, makePackage, type Package, sha256 } from '../../fixtures/nar.ts';
import { output } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';

const flatName = (path: string): string => sha256(path).toString('hex');

/** Puts into the folder what the Go service kept of requests for these paths. */
async function leave(folder: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [path, body] of Object.entries(files)) await writeFile(join(folder, flatName(path)), body);
}

function filesOf(...packages: readonly Package[]): Record<string, Uint8Array | string> {
  return Object.fromEntries(
    packages.flatMap((one) => [
      [one.narInfoPath, one.narInfo],
      [`/${field(one.narInfo, 'URL')}`, one.file],
    ]),
  );
}

async function flatIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => /^[0-9a-f]{64}$/.test(name)).sort();
}

/** Sees that the service serves the package. */
async function assertServed(url: string, one: Package): Promise<void> {
  const narInfo = await get(url, one.narInfoPath);
  assert.equal(narInfo.status, 200, one.base);
  assert.equal(field(narInfo.text, 'NarHash'), field(one.narInfo, 'NarHash'));
  const nar = await get(url, `/${field(narInfo.text, 'URL')}`);
  assert.ok(nar.body.equals(one.file), `the NAR of ${one.base}`);
}

/** Origin by path of all objects. */
async function origins(t: Owner, dir: string): Promise<Map<string, string>> {
  const { stdout } = await (await commandsOn(t, dir)).run('list', '--json');
  const lines = stdout.split('\n').filter((line) => line !== '');
  return new Map(lines.map((line) => JSON.parse(line)).map(({ path, origin }) => [path, origin]));
}

const one = makePackage('one', { compression: 'xz' });
const opaque = makePackage('opaque', { compression: 'gzip', url: 'nar/opaque.nar.gz' });
const asked = makePackage('asked', { compression: 'xz', url: 'nar/asked.nar.xz?hash=abc' });
const shared = makePackage('shared', { seed: 'same' });
const twin = makePackage('twin', { seed: 'same' });
const GOOD = [one, opaque, asked, shared, twin];

test('what the Go service left in a folder is taken over, and that folder is not touched', async (t) => {
  const lacking = makePackage('lacking');
  const folder = await temporaryFolder(t);
  await leave(folder, { ...filesOf(one, opaque, shared, twin), [lacking.narInfoPath]: lacking.narInfo });
  await leave(folder, { [asked.narInfoPath]: asked.narInfo, '/nar/asked.nar.xz': asked.file });
  await leave(folder, { '/nix-cache-info': 'StoreDir: /nix/store\n', '/log/x.drv': 'log\n' });
  const before = await flatIn(folder);
  const service = await startService(t);
  const { run } = await commandsOn(t, service.dir);

  const { code, stderr, stdout } = await run('import', '--from-go', '--verbose', folder);
  assert.deepEqual([code, stderr], [3, '']);
  const lines = stdout.trimEnd().split('\n');
  assert.match(lines[0] ?? '', /^took over 5 paths, /);
  assert.deepEqual(lines.slice(1), [
    '1 paths have a narinfo and no NAR here; left',
    `  ${lacking.storePath}`,
    '1 files were not recognised; left',
    `  ${flatName('/log/x.drv')}`,
  ]);
  assert.deepEqual(await flatIn(folder), before);
  for (const each of GOOD) await assertServed(service.url, each);
  assert.deepEqual(new Set((await origins(t, service.dir)).values()), new Set(['unknown']));

  const again = await run('import', '--from-go', folder);
  assert.match(again.stdout, /^took over 0 paths, 0 B; 5 were there already\n/);
  assert.doesNotMatch(again.stdout, /log|lacking/);
});

test('a narinfo without its NAR is left out, and so is one whose NAR is no file', async (t) => {
  const lacking = makePackage('lacking');
  const service = await startService(t);
  const { run } = await commandsOn(t, service.dir);
  const folder = await temporaryFolder(t);
  await leave(folder, { [lacking.narInfoPath]: lacking.narInfo });
  const without = await run('import', '--from-go', folder);
  assert.deepEqual([without.code, without.stderr], [3, '']);
  assert.match(without.stdout, /1 paths have a narinfo and no NAR here; left/);
  const nar = join(folder, flatName(lacking.narPath));
  for (const make of [() => symlink('/dev/zero', nar), () => output('mkfifo', [nar]), () => mkdir(nar)]) {
    await make();
    const { code, stderr } = await run('import', '--from-go', folder);
    assert.deepEqual([code, /its NAR, is no file/.test(stderr)], [3, true], stderr);
    await rm(nar, { recursive: true });
  }
});

test('in the cache folder itself the flat files go once they are objects, beside the running service', async (t) => {
  const service = await startService(t);
  await leave(service.dir, filesOf(...GOOD.filter((each) => each !== asked)));
  const pushed = makePackage('pushed');
  await push(service.url, pushed);
  for (const each of [one, opaque]) await assertServed(service.url, each);
  const { run } = await commandsOn(t, service.dir);
  const { code, stderr, stdout } = await run('import', '--from-go', service.dir);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^took over 4 paths, /);
  assert.deepEqual(await flatIn(service.dir), []);
  for (const each of [one, opaque, shared, twin, pushed]) await assertServed(service.url, each);
  const found = await origins(t, service.dir);
  assert.equal(found.get(pushed.narPath), 'push');
  assert.deepEqual([found.get('/nar/opaque.nar.gz'), found.get(one.narPath)], ['unknown', 'unknown']);
});

test('what does not pass is named and stays where it is', async (t) => {
  const wrongNar = makePackage('wrong-nar', { compression: 'xz' });
  const wrongPacked = makePackage('wrong-packed', {
    compression: 'gzip',
    url: 'nar/p.nar',
    fields: { FileHash: undefined },
  });
  const wrongSize = makePackage('wrong-size', {
    compression: 'xz',
    url: 'nar/size.nar.xz',
    fields: { FileSize: '7', FileHash: undefined },
  });
  // Where a hash tells, nobody minds the size.
  const needless = makePackage('needless-size', { compression: 'xz', fields: { FileSize: '7' } });
  const broken = makePackage('broken', { fields: { NarSize: '-1' } });
  const misplaced = makePackage('misplaced');
  const wrong = { [wrongNar.narPath]: one.file, '/nar/p.nar': opaque.file };
  for (const place of ['elsewhere', 'in the cache folder']) {
    const service = await startService(t);
    const folder = place === 'elsewhere' ? await temporaryFolder(t) : service.dir;
    await leave(folder, { ...filesOf(one, wrongNar, wrongPacked, wrongSize, needless, broken), ...wrong });
    await leave(folder, { '/other.narinfo': misplaced.narInfo });
    const { run } = await commandsOn(t, service.dir);
    const { code, stderr, stdout } = await run('import', '--from-go', folder);
    assert.equal(code, 3);
    const said = new Map(
      stderr
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/: (.*)/s) as [string, string]),
    );
    assert.match(said.get(wrongNar.storePath) ?? '', /narinfo FileHash is \w+, but that of .* is \w+/);
    assert.match(said.get(wrongPacked.storePath) ?? '', /NarHash is wrong/);
    assert.match(said.get(wrongSize.storePath) ?? '', /FileSize is 7/);
    assert.equal(said.get(needless.storePath), undefined);
    assert.match(said.get(broken.storePath) ?? '', /NarSize is "-1"/);
    assert.match(said.get(misplaced.storePath) ?? '', /lies under the name/);
    assert.equal(said.size, 5);
    assert.match(stdout, /^took over 2 paths, .*; 5 could not be had\n1 files were not recognised; left\n$/);
    await assertServed(service.url, one);
    const objects = (await readdir(service.dir, { recursive: true })).filter((name) =>
      /^..\/[0-9a-f]{64}$/.test(name),
    );
    assert.equal(objects.length, 4, 'what did not pass became an object');
    assert.equal((await flatIn(folder)).length, place === 'elsewhere' ? 13 : 9);
  }
});

test('killed half-way nothing is lost, and run again the rest is taken over', async (t) => {
  const all = Array.from({ length: 20 }, (_, i) => makePackage(`many-${i}`, { size: 20_000 }));
  const service = await startService(t);
  await leave(service.dir, filesOf(...all));
  const { killedAfter, run } = await commandsOn(t, service.dir);
  await killedAfter(20, 'import', '--from-go', service.dir);
  assert.equal((await flatIn(service.dir)).length, 20);
  for (const each of all) await assertServed(service.url, each);
  assert.equal((await run('import', '--from-go', service.dir)).code, 0);
  assert.deepEqual(await flatIn(service.dir), []);
  for (const each of all) await assertServed(service.url, each);
});

test('a damaged object is no reason to let its flat file go', async (t) => {
  const service = await startService(t);
  const { run } = await commandsOn(t, service.dir);
  await leave(service.dir, filesOf(one));
  assert.equal((await run('import', '--from-go', service.dir)).code, 0);
  for (const path of [one.narPath, one.narInfoPath]) {
    const file = join(service.dir, flatName(path).slice(0, 2), flatName(path));
    const bytes = await readFile(file);
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 20) ^ 1, bytes.length - 20);
    await rm(file);
    await writeFile(file, bytes);
  }
  await leave(service.dir, filesOf(one));
  assert.equal((await run('import', '--from-go', service.dir)).code, 0);
  await assertServed(service.url, one);
  assert.equal(
    (await readdir(join(service.dir, 'quarantine'))).filter((name) => !name.endsWith('.reason')).length,
    2,
  );
});

test('NARs that are called by their NarHash, as cache.nixos.org does, are taken over and not quarantined', async (t) => {
  const named = (['xz', 'br'] as const).map((compression) => {
    const { narInfo } = makePackage(`by-${compression}`, { compression });
    const url = `nar/${field(narInfo, 'NarHash').slice('sha256:'.length)}.nar.${compression}`;
    return { url: `/${url}`, made: makePackage(`by-${compression}`, { compression, url }) };
  });
  const folder = await temporaryFolder(t);
  for (const { made, url } of named)
    await leave(folder, { [made.narInfoPath]: made.narInfo, [url]: made.file });
  const service = await startService(t);
  const { run } = await commandsOn(t, service.dir);
  assert.equal((await run('import', '--from-go', folder)).code, 0);
  assert.equal((await run('verify')).code, 0);
  for (const { made } of named) await assertServed(service.url, made);
  const there = await commandsOn(t, folder);
  assert.equal((await there.run('verify')).code, 0);
});
