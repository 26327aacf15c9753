// Every kind of damage is found, blamed on the right file, set aside with its reason; and nothing else is.
import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { flip } from '../fixtures/damage.ts';
import { Holdings, idOf } from '../fixtures/holdings.ts';
import { type Compression, type Key, makePackage, publicKey, sha256 } from '../fixtures/nar.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';
import { verifyHoldings } from '../fixtures/verified.ts';

const UPSTREAM = 'http://upstream.example';
const KEY: Key = { name: 'own-1', seed: Buffer.alloc(32, 1) };
const OTHER: Key = { name: 'other-1', seed: Buffer.alloc(32, 2) };
const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'br', 'xz'];
const LOG = '/log/0123456789abcdfghijklmnpqrsvwxyz-hello.drv';

const demanding = {
  upstreams: [upstreamConfig(UPSTREAM, { publicKeys: [publicKey(KEY)] })],
  trustedKeys: [publicKey(OTHER)],
};

test('what is right is found right, of whatever kind and from wherever', async (t) => {
  const holdings = await Holdings.create(t);
  for (const compression of COMPRESSIONS) {
    await holdings.package(makePackage(`pushed-${compression}`, { compression, keys: [OTHER] }), 'push');
    await holdings.package(makePackage(`fetched-${compression}`, { compression, keys: [KEY] }), UPSTREAM);
  }
  await holdings.narInfo(makePackage('without-nar', { keys: [KEY] }), UPSTREAM);
  await holdings.put(LOG, 'log', Buffer.from('built\n'), 'push');
  const flat = makePackage('flat');
  await holdings.flat(flat.narInfoPath, flat.narInfo);
  await holdings.flat(flat.narPath, flat.file);
  const odd = makePackage('odd', { url: 'nar/odd.nar' });
  await holdings.flat(odd.narInfoPath, odd.narInfo);
  await holdings.flat('/nar/odd.nar', odd.file);
  await holdings.flat('/nar/nobody-names-it.nar', 'x');
  await holdings.flat('/nix-cache-info', 'StoreDir: /nix/store\n');
  const { events, result } = await verifyHoldings(holdings, { config: demanding });
  assert.deepEqual(events, []);
  assert.equal(result.objects, 8 * 2 + 1 + 1 + 6);
  assert.deepEqual([result.damaged, result.doubtful, result.unknown], [0, 0, 1]);
  assert.deepEqual(await holdings.quarantined(), []);
});

test('files that have changed places are both set aside', async (t) => {
  const holdings = await Holdings.create(t);
  const [a, b] = [makePackage('a'), makePackage('b')];
  await holdings.package(a, UPSTREAM);
  await holdings.package(b, UPSTREAM);
  const [first, second] = [
    await readFile(holdings.file(a.narPath)),
    await readFile(holdings.file(b.narPath)),
  ];
  await writeFile(holdings.file(a.narPath), second);
  await writeFile(holdings.file(b.narPath), first);
  assert.equal((await verifyHoldings(holdings)).result.damaged, 2);
  for (const [, reason] of await holdings.quarantined())
    assert.match(reason, /^its header says it is \/nar\//);
});

test('a file in the folder of others, where nobody looks for it, is set aside', async (t) => {
  for (const stray of ['narInfoPath', 'narPath'] as const) {
    for (const moved of [true, false]) {
      const holdings = await Holdings.create(t);
      const one = makePackage('one');
      await holdings.package(one, 'push');
      const file = holdings.file(one[stray]);
      const other = join(holdings.dir, idOf(one[stray]).startsWith('00') ? '01' : '00');
      await mkdir(other, { recursive: true });
      await copyFile(file, join(other, idOf(one[stray])));
      if (moved) await rm(file);
      const { result } = await verifyHoldings(holdings);
      // Without its NAR a pushed narinfo goes too; beside one that is right a copy more changes nothing.
      assert.equal(result.damaged, moved && stray === 'narPath' ? 2 : 1);
      assert.match(
        (await holdings.quarantined()).map(String).join('\n'),
        /lies in a folder where nobody looks/,
      );
      assert.equal((await verifyHoldings(holdings)).result.objects, 2 - (moved ? result.damaged : 0));
    }
  }
});

const other = encodeNix32(sha256('other'));
const FIELDS: Readonly<Record<string, string>> = {
  FileHash: `sha256:${other}`,
  NarSize: '7',
  NarHash: `sha256:${other}`,
};

for (const [field, value] of Object.entries(FIELDS)) {
  test(`a narinfo whose ${field} is not that of its NAR is set aside, and the NAR stays`, async (t) => {
    for (const compression of COMPRESSIONS) {
      // Nothing here unpacks xz, so what is inside can't be told.
      if (compression === 'xz' && field.startsWith('Nar')) continue;
      const holdings = await Holdings.create(t);
      const one = makePackage('one', { compression, fields: { [field]: value } });
      await holdings.package(one, 'push');
      const { events } = await verifyHoldings(holdings);
      assert.equal(events.length, 1, `${compression}: ${events.join('\n')}`);
      const wanted = `^damaged ${one.narInfoPath} its ${field} is ${value.replace('sha256:', '')}, but that of its NAR is `;
      assert.match(events[0] ?? '', new RegExp(wanted));
      await stat(holdings.file(one.narPath));
    }
  });
}

test('a wrong FileSize is damage where no hash tells that the file is right, and only there', async (t) => {
  for (const compression of COMPRESSIONS) {
    for (const fields of [{ FileSize: '7' }, { FileSize: '7', FileHash: undefined }]) {
      const holdings = await Holdings.create(t);
      const one = makePackage('one', { compression, fields });
      await holdings.package(one, 'push');
      const { events } = await verifyHoldings(holdings);
      const isTold = compression !== 'xz' || 'FileHash' in fields === false;
      assert.equal(events.length, isTold ? 0 : 1, `${compression}: ${events.join('\n')}`);
      if (!isTold) assert.match(events[0] ?? '', /its FileSize is 7, but that of its NAR is /);
    }
  }
});

test('a narinfo with another compression than its NAR has, and one that is none', async (t) => {
  const holdings = await Holdings.create(t);
  const one = makePackage('one', { fields: { Compression: 'gzip' } });
  await holdings.package(one, 'push');
  await holdings.put(makePackage('two').narInfoPath, 'narinfo', Buffer.from('hello\n'), 'push');
  const { events } = await verifyHoldings(holdings);
  assert.equal(events.length, 2);
  assert.match(events.join('\n'), /its NAR can't be decoded as gzip/);
  assert.match(events.join('\n'), /narinfo line is not "Name: value"/);
});

test('a narinfo about another path is set aside', async (t) => {
  const holdings = await Holdings.create(t);
  const [one, two] = [makePackage('one'), makePackage('two')];
  await holdings.nar(two, 'push');
  await holdings.narInfo(one, 'push', two.narInfo);
  assert.deepEqual((await verifyHoldings(holdings)).events, [
    `damaged ${idOf(one.narInfoPath)} it is about ${two.storePath}`,
  ]);
});

test('a pushed narinfo whose NAR is missing is set aside, at once or when the NAR is', async (t) => {
  const holdings = await Holdings.create(t);
  const [gone, decayed] = [makePackage('gone'), makePackage('decayed', { compression: 'xz' })];
  await holdings.narInfo(gone, 'push');
  await holdings.package(decayed, 'push');
  await holdings.edit(decayed.narPath, flip(-5));
  const { result } = await verifyHoldings(holdings);
  assert.equal(result.damaged, 3);
  const labels = (await holdings.quarantined()).map(([label]) => label);
  assert.deepEqual(labels, [gone.narInfoPath, decayed.narInfoPath, decayed.narPath].sort());
});

test('a NAR whose bytes are not what its name promises is set aside, though its header is right', async (t) => {
  const holdings = await Holdings.create(t);
  const [one, two] = [makePackage('one'), makePackage('two')];
  await holdings.put(one.narPath, 'nar', two.file, 'push');
  assert.match(
    (await verifyHoldings(holdings)).events.join('\n'),
    /^damaged \/nar\/.* its name says \w{64}$/,
  );
});

test('a cache of another store folder is not thrown away', async (t) => {
  const holdings = await Holdings.create(t);
  await holdings.package(makePackage('one', { storeDir: '/gnu/store' }), 'push');
  const { result } = await verifyHoldings(holdings);
  assert.deepEqual([result.damaged, result.doubtful], [0, 1]);
});

test('of the Go service: a NAR that is not its name, a narinfo cut off, and one that disagrees', async (t) => {
  const holdings = await Holdings.create(t);
  const [a, b, c] = [makePackage('a'), makePackage('b'), makePackage('c', { fields: { NarSize: '9' } })];
  await holdings.flat(a.narInfoPath, a.narInfo);
  await holdings.flat(a.narPath, b.file);
  await holdings.flat(b.narInfoPath, b.narInfo.slice(0, -1));
  await holdings.flat(c.narInfoPath, c.narInfo);
  await holdings.flat(c.narPath, c.file);
  const { events } = await verifyHoldings(holdings);
  const labels = (await holdings.quarantined()).map(([label]) => label);
  assert.deepEqual(labels, [a.narPath, b.narInfoPath, c.narInfoPath].sort(), events.join('\n'));
});

test('where a NAR has no name that tells, a signature tells whether it or its narinfo is wrong', async (t) => {
  const wrong = makePackage('wrong', { size: 5000 }).file;
  for (const [keys, tellsOfFile, blamed] of [
    [[KEY], false, 'nar'],
    [[], false, 'narinfo'],
    // No signature covers what is said of the file.
    [[KEY], true, 'narinfo'],
  ] as const) {
    const holdings = await Holdings.create(t);
    const odd = makePackage('odd', { url: 'nar/odd.nar', keys });
    const text = tellsOfFile ? odd.narInfo : odd.narInfo.replace(/^File.*\n/gm, '');
    await holdings.flat(odd.narInfoPath, text);
    await holdings.flat('/nar/odd.nar', wrong);
    const { events } = await verifyHoldings(holdings, { config: { ...demanding, trustedKeys: [] } });
    const labels = (await holdings.quarantined()).map(([label]) => label);
    assert.deepEqual(labels, [blamed === 'nar' ? '/nar/odd.nar' : odd.narInfoPath], events.join(', '));
  }
});

test('looking leaves no trace: no time of any file changes', async (t) => {
  const holdings = await Holdings.create(t);
  const one = makePackage('one', { compression: 'br' });
  await holdings.package(one, 'push');
  const long = new Date(Date.now() - 9e9);
  const paths = [one.narInfoPath, one.narPath];
  for (const path of paths) await utimes(holdings.file(path), long, long);
  const times = async () =>
    Promise.all(
      paths.map(async (path) => {
        const { atimeMs, mtimeMs } = await stat(holdings.file(path));
        return process.platform === 'linux' ? [mtimeMs, atimeMs] : [mtimeMs];
      }),
    );
  const before = await times();
  assert.equal((await verifyHoldings(holdings)).result.objects, 2);
  assert.deepEqual(await times(), before);
});

test('what is removed while it is looked for is no finding', async (t) => {
  const holdings = await Holdings.create(t);
  const all = Array.from({ length: 20 }, (_, i) => makePackage(`p${i}`));
  for (const one of all) await holdings.package(one, 'push');
  let first = true;
  const { events } = await verifyHoldings(holdings, {
    onProgress: () => {
      if (!first) return;
      first = false;
      for (const one of all)
        void rm(holdings.file(one.narInfoPath)).then(() => rm(holdings.file(one.narPath)));
    },
  });
  assert.deepEqual(events, []);
});
