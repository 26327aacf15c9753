// Who is asked for what, in which order, and what the bytes must be, by what is known of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NarSources } from '../../lib/download/nar-sources.ts';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import type { NarInfos } from '../../lib/narinfos/narinfos.ts';
import type { KnownNarInfo } from '../../lib/narinfos/served-narinfos.ts';
import { addressOf, namesFor, narNameOf, partsOfAddress } from '../../lib/nix/nar-names.ts';
import { parseNarInfo } from '../../lib/nix/narinfo.ts';
import type { NarName } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import type { Owner } from '../fixtures/defer.ts';
import { makePackage, type PackageOptions } from '../fixtures/nar.ts';
import { createWorld } from '../fixtures/upstreams.ts';

const URLS = ['http://a.test', 'http://b.test'] as const;
const [A, B] = URLS;
const SILENT = () => {};
const HASH = makePackage('one').hash as StoreHash;

/** What only clients get to see of it. */
const UNSEEN = { sha256: '', modified: undefined };

/** The narinfo of a package as that upstream has it. */
function known(origin: string, options: PackageOptions = {}): KnownNarInfo {
  const text = makePackage('one', options).narInfo;
  const info = parseNarInfo(text, '/nix/store');
  return { info, text, origin, narName: narNameOf(info, origin), served: text, ...UNSEEN };
}

/** Two upstreams, and a narinfo that is found so; those they have themselves, by their URLs. */
function setUp(t: Owner, find: NarInfos['find'], own: Readonly<Record<string, KnownNarInfo>> = {}) {
  const world = createWorld(t);
  const upstreams = world.upstreams(URLS.map((url) => world.upstream(url)));
  const ask: NarInfos['ask'] = async ({ url }) => own[url];
  return new NarSources(upstreams, { find, ask } as Partial<NarInfos> as NarInfos, SILENT);
}

const found =
  (one: KnownNarInfo): NarInfos['find'] =>
  async () => ({ known: one, how: 'hit' });
const failing: NarInfos['find'] = async () => {
  throw new CacheError('timeout', 'nobody answers');
};
const byNarInfo = (url: string) => `${url} by its narinfo of ${HASH}`;

test('a log is asked for by all names that it may have, in which a question mark begins no query', async (t) => {
  const { expected, sources } = await setUp(t, failing).forFile({ kind: 'log', drv: `${HASH}-a?b.drv` });
  assert.deepEqual(
    sources.map(({ label }) => label),
    [A, B].flatMap((base) => [`${base}/log/${HASH}-a%3Fb.drv`, `${base}/log/${HASH}-a`]),
  );
  assert.deepEqual(Object.values(expected), [undefined, undefined, undefined]);
});

test('a NAR whose name is its hash: by its URL where its narinfo came from, then by that name, then by other narinfos', async (t) => {
  const one = known(B, { url: 'files/own.nar.xz', compression: 'xz' });
  const { expected, sources } = await setUp(t, found(one)).forNar(one.narName, HASH);
  const labels = sources.map(({ label }) => label);
  assert.deepEqual(labels, [
    `${B}/files/own.nar.xz`,
    // Not there by that name too: its "no" would be taken for the true one.
    `${A}/nar/${one.narName}`,
    byNarInfo(A),
  ]);
  assert.deepEqual(
    sources.map(({ certain }) => certain),
    [true, false, false],
  );
  assert.equal(expected.fileHash, one.info.fileHash);
});

test('a name that is no hash is another file elsewhere: there it is asked for by the own narinfo alone', async (t) => {
  const one = known(A, { compression: 'gzip', fields: { FileHash: undefined } });
  const { sources } = await setUp(t, found(one)).forNar(one.narName, HASH);
  assert.deepEqual(
    sources.map(({ label }) => label),
    [`${A}/${one.info.url}`, byNarInfo(B)],
  );
});

test('an upstream whose own narinfo is of another NAR, or that has none, is not asked for it', async (t) => {
  const one = known(A);
  const other = known(B, { seed: 'another build' });
  for (const own of [{ [B]: other }, {}]) {
    const { sources } = await setUp(t, found(one), own).forNar(one.narName, HASH);
    const source = sources.find(({ label }) => label === byNarInfo(B));
    assert.equal(await source?.ask(new AbortController().signal), undefined);
  }
});

test('an upstream that could not tell its own narinfo is asked for it again, and once it has, not any more', async (t) => {
  const one = known(A);
  const world = createWorld(t);
  const upstreams = world.upstreams(URLS.map((url) => world.upstream(url)));
  let asked = 0;
  const ask: NarInfos['ask'] = async () => {
    asked++;
    if (asked === 1) throw new CacheError('aborted', 'no longer wanted');
    return undefined;
  };
  const narInfos = { find: found(one), ask } as Partial<NarInfos> as NarInfos;
  const { sources } = await new NarSources(upstreams, narInfos, SILENT).forNar(one.narName, HASH);
  const source = sources.find(({ label }) => label === byNarInfo(B));
  const { signal } = new AbortController();
  await assert.rejects(
    async () => source?.ask(signal),
    (error) => isCacheError(error, 'aborted'),
  );
  assert.equal(await source?.ask(signal), undefined);
  await source?.ask(signal);
  assert.equal(asked, 2);
});

test('what the bytes must be follows from the narinfo, or else from the name', async (t) => {
  const plain = known(A, { fields: { FileHash: undefined, FileSize: undefined } });
  const { expected } = await setUp(t, found(plain)).forNar(plain.narName, HASH);
  assert.deepEqual([expected.fileHash, expected.fileSize], [plain.info.narHash, plain.info.narSize]);

  const { fileHash, ...bare } = known(A, { compression: 'xz' }).info;
  const named = known('unknown', { compression: 'xz', fields: { FileHash: undefined } });
  const byName = await setUp(t, found(named)).forNar(named.narName, HASH);
  assert.equal(named.narName, `${fileHash}.nar.xz`);
  assert.deepEqual([byName.expected.fileHash, byName.expected.fileSize], [fileHash, bare.fileSize]);
});

test('without its narinfo a NAR is asked for only if its name tells wrong bytes', async (t) => {
  const packed = known(A, { compression: 'gzip', fields: { FileHash: undefined } });
  const hashed = known(A, { compression: 'xz' });
  const sources = setUp(t, failing);
  for (const { info, narName } of [packed, hashed]) {
    const [plain] = namesFor(narName, HASH);
    for (const name of [narName, addressOf(info)]) {
      const wanted = await sources.forNar(name, HASH);
      assert.equal(wanted.name, plain);
      assert.deepEqual(wanted.expected, {
        fileHash: undefined,
        fileSize: undefined,
        nar: undefined,
        named: { name: plain, packing: partsOfAddress(name)?.compression },
      });
    }
  }
  await assert.rejects(sources.forNar('x.nar.xz' as NarName, HASH), (error) =>
    isCacheError(error, 'timeout'),
  );
});
