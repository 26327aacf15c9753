// Narinfos and NARs as other caches have them, and such as nobody should take.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { get } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { assertPushed } from '../../fixtures/pushed.ts';
import { startService } from '../../fixtures/service.ts';
import { writeCache } from '../../fixtures/static-cache.ts';
import { storedFiles } from '../../fixtures/stored-files.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';

const NO_FILE_HASH = { FileHash: undefined, FileSize: undefined };
const HASH = makePackage('styled', { compression: 'xz' }).hash;
const STYLES = {
  attic: makePackage('styled', { compression: 'xz', url: `nar/${HASH}.nar`, fields: NO_FILE_HASH }),
  'nix-serve': makePackage('styled', { url: `nar/${HASH}-x.nar`, fields: NO_FILE_HASH }),
  harmonia: makePackage('styled', { url: `nar/x.nar?hash=${HASH}`, fields: NO_FILE_HASH }),
  gzip: makePackage('styled', { compression: 'gzip', url: 'nar/any.nar.gz', fields: NO_FILE_HASH }),
  'a path from the root': makePackage('styled', { compression: 'xz', url: '/files/some.nar.xz' }),
  'another folder': makePackage('styled', { compression: 'xz', url: 'files/%73ome.nar.xz' }),
  'a narinfo without Compression': makePackage('styled', {
    ...{ compression: 'bzip2', url: 'nar/some.nar.bz2' },
    fields: { ...NO_FILE_HASH, Compression: undefined },
  }),
} as const;

describe('NARs are stored under their hash, whatever they are called', () => {
  for (const [style, one] of Object.entries(STYLES)) {
    const path = decodeURIComponent(
      new URL(one.narInfo.match(/^URL: (.*)$/m)?.[1] ?? '', 'http://x/').pathname,
    );
    test(`${style}: in a folder`, async (t) => {
      const service = await startService(t);
      const folder = await temporaryFolder(t);
      await writeCache(folder, [one], () => path);
      const { run } = await commandsOn(t, service.dir);
      assert.deepEqual((await run('import', folder)).stderr, '');
      await assertPushed(service.url, one);
      const once = await storedFiles(service.dir, true);
      assert.match((await run('import', folder)).stdout, /1 were there already/);
      assert.deepEqual([...(await storedFiles(service.dir, true)).keys()], [...once.keys()]);
    });
    test(`${style}: in another cache`, async (t) => {
      const upstream = await startUpstream(t);
      upstream.on(one.narInfoPath, whole(one.narInfo));
      upstream.on(
        new URL(field(one.narInfo, 'URL'), upstream.url).href.slice(upstream.url.length),
        whole(one.file),
      );
      const service = await startService(t);
      const { run } = await commandsOn(t, service.dir);
      const { code, stderr } = await run('import', upstream.url, one.storePath);
      assert.deepEqual([code, stderr], [0, '']);
      await assertPushed(service.url, one);
    });
  }

  test('an absolute URL: in a folder that was copied, and in another cache', async (t) => {
    const [upstream, elsewhere] = [await startUpstream(t), await startUpstream(t)];
    const one = makePackage('styled', { compression: 'xz', url: `${elsewhere.url}/deep/nar/some.nar.xz` });
    upstream.on(one.narInfoPath, whole(one.narInfo));
    const folder = await temporaryFolder(t);
    await writeCache(folder, [one], () => '/nar/some.nar.xz');
    const [first, second] = [await startService(t), await startService(t)];
    assert.equal((await (await commandsOn(t, first.dir)).run('import', folder)).code, 0);
    assert.equal(elsewhere.count(), 0, 'a folder led to the network');
    await assertPushed(first.url, one);
    elsewhere.on('/deep/nar/some.nar.xz', whole(one.file));
    const imported = await (await commandsOn(t, second.dir)).run('import', `${upstream.url}/`, one.hash);
    assert.deepEqual([imported.code, imported.stderr], [0, '']);
    await assertPushed(second.url, one);
  });
});

function flipped(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  other.writeUInt8(other.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
  return other;
}

const wrongNarHash = { NarHash: `sha256:${'0'.repeat(52)}` };
const DAMAGED: Readonly<Record<string, { one: Package; file?: Buffer; why: RegExp }>> = {
  'a bit flip in a NAR': {
    one: makePackage('bad', { compression: 'xz' }),
    file: flipped(makePackage('bad', { compression: 'xz' }).file),
    why: /expected a body with the SHA-256 in its name/,
  },
  'a bit flip in a NAR that has no FileHash': {
    one: makePackage('bad', { compression: 'gzip', url: 'nar/any.nar', fields: NO_FILE_HASH }),
    file: flipped(makePackage('bad', { compression: 'gzip' }).file),
    why: /NarHash|decoded/,
  },
  'a NAR that is cut off': {
    one: makePackage('bad'),
    file: makePackage('bad').file.subarray(0, 500),
    why: /expected a body with the SHA-256 in its name/,
  },
  'a NarHash that is not that of the NAR': {
    one: makePackage('bad', { fields: wrongNarHash }),
    why: /NarHash/,
  },
  'a NarHash that is not that of the packed NAR': {
    one: makePackage('bad', { compression: 'br', fields: wrongNarHash }),
    why: /NarHash/,
  },
  'a FileSize that is not that of a file without a hash': {
    one: makePackage('bad', { compression: 'xz', fields: { FileHash: undefined, FileSize: '7' } }),
    why: /FileSize/,
  },
  'another store': {
    one: makePackage('bad', { storeDir: '/gnu/store' }),
    why: /a store path in \/nix\/store/,
  },
  'a narinfo that is none': { one: { ...makePackage('bad'), narInfo: 'Hello\n' }, why: /not "Name: value"/ },
  'a narinfo of another path': {
    one: { ...makePackage('bad'), narInfo: makePackage('good').narInfo },
    why: /expected the narinfo of/,
  },
  'a NAR outside of the folder': { one: makePackage('bad', { url: '../outside.nar' }), why: /is not in/ },
  'a NAR outside, encoded': {
    one: makePackage('bad', { url: 'nar/..%2f..%2foutside.nar' }),
    why: /is not in/,
  },
};

describe('what is wrong is named and not taken; the rest is', () => {
  for (const [damage, { file, one, why }] of Object.entries(DAMAGED)) {
    test(damage, async (t) => {
      const service = await startService(t);
      const root = await temporaryFolder(t);
      const folder = join(root, 'stick');
      const good = makePackage('good', { references: [one.base] });
      const path = field(makePackage('bad').narInfo, 'URL');
      await writeCache(folder, [{ ...one, file: file ?? one.file }], () =>
        /^URL: nar\/[^.%]+\.nar/m.test(one.narInfo) ? `/${field(one.narInfo, 'URL')}` : `/${path}`,
      );
      await writeCache(folder, [good]);
      await writeFile(join(root, 'outside.nar'), one.file);
      const { run } = await commandsOn(t, service.dir);
      const { code, stderr, stdout } = await run('import', folder);
      assert.equal(code, 3, stderr);
      assert.match(stderr, new RegExp(`^(?:${one.storePath}|${one.base}|${one.hash}\\.narinfo): `));
      assert.match(stderr, why);
      assert.match(stdout, /^imported 1 paths.*1 could not be had\n$/);
      await assertPushed(service.url, good);
      assert.equal((await get(service.url, one.narInfoPath)).status, 404);
    });
  }
});
