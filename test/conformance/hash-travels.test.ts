// Clients remember a narinfo for a month and ask for its NAR without asking for the narinfo again. Upstreams name NARs
// as they please. Whatever was forgotten here in between, the store hash in the URL leads back to the right bytes.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { assertNotGood, get, head } from '../fixtures/client.ts';
import { evict, narPathFrom } from '../fixtures/forgetting.ts';
import { assertServed } from '../fixtures/gated-nar.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package, type PackageOptions } from '../fixtures/nar.ts';
import {
  type Handler,
  redirect,
  startUpstream,
  status,
  type TestUpstream,
  whole,
} from '../fixtures/upstream.ts';

interface Style extends Pick<PackageOptions, 'compression' | 'fields'> {
  /** The narinfo's URL for that package, on another host if it likes. */
  readonly name: (one: Package, elsewhere: string) => string;
  /** Whether the NAR is handed out by another host, at an address that is good for one request. */
  readonly presigned?: true;
}

const NO_FILE_HASH = { FileHash: undefined, FileSize: undefined };

/** docs/protocol.md, section 7. */
const STYLES: Record<string, Style> = {
  'nix copy': { compression: 'xz', name: ({ narPath }) => narPath.slice(1) },
  attic: {
    compression: 'br',
    fields: NO_FILE_HASH,
    name: ({ hash }) => `nar/${hash}.nar`,
    presigned: true,
  },
  cachix: { compression: 'xz', name: () => 'nar/2c6a2b1e-8f0d-4c1b-9a57-0d6a9a2b3c4d.nar.xz' },
  'nix-serve': { fields: NO_FILE_HASH, name: (one) => `nar/${one.hash}-${narHash(one)}.nar` },
  harmonia: { fields: NO_FILE_HASH, name: (one) => `nar/${narHash(one)}.nar?hash=${one.hash}` },
  snix: { fields: NO_FILE_HASH, name: ({ nar }) => `nar/snix-castore/EiBx-_9k?narsize=${nar.length}` },
  'an absolute URL': { compression: 'gzip', name: (_, elsewhere) => `${elsewhere}/files/x?a=1&b=%2F` },
  'an absolute URL without FileHash': {
    ...{ compression: 'xz', fields: NO_FILE_HASH },
    name: (_, elsewhere) => `${elsewhere}/files/x`,
  },
  'a path above': { compression: 'bzip2', fields: NO_FILE_HASH, name: () => '../nar/x' },
};

function narHash({ narInfo }: Package): string {
  return field(narInfo, 'NarHash').slice('sha256:'.length);
}

interface Scene {
  readonly service: TestService;
  readonly one: Package;
  /** Where the service says that the NAR is. */
  readonly path: string;
  /** How often the narinfo and the NAR have crossed the link; fails if anything was asked for that nobody has. */
  crossed(): [narInfo: number, nar: number];
}

/** A service whose second upstream has a package in that style, and a client that has just got its narinfo. */
async function startScene(t: TestContext, style: Style): Promise<Scene> {
  const [stranger, upstream, elsewhere] = [
    await startUpstream(t),
    await startUpstream(t),
    await startUpstream(t),
  ];
  const options = { size: 200_000, compression: style.compression ?? 'none', fields: style.fields ?? {} };
  const url = style.name(makePackage('travels', options), elsewhere.url);
  const one = makePackage('travels', { ...options, url });

  const narInfoPath = `/team${one.narInfoPath}`;
  upstream.on(narInfoPath, whole(one.narInfo));
  const { origin, pathname, search } = new URL(url, `${upstream.url}/team/`);
  const host = origin === elsewhere.url ? elsewhere : upstream;
  // Such a name means nothing without its query.
  host.on(pathname, status(400));
  host.on(pathname + search, style.presigned ? presigned(elsewhere, one.file) : whole(one.file));

  const service = await startTestService(t, { upstreams: [stranger.url, `${upstream.url}/team`] });
  const path = await narPathFrom(service, one);
  const ending = { none: '', xz: '.xz', br: '.br', bzip2: '.bz2', gzip: '.gzip', zstd: '.zst' };
  const digits = style.fields === NO_FILE_HASH ? narHash(one) : field(one.narInfo, 'FileHash').slice(7);
  assert.equal(path, `/nar/${one.hash}-${digits}.nar${ending[style.compression ?? 'none']}`);
  return {
    ...{ service, one, path },
    crossed: () => {
      const known = [narInfoPath, pathname + search];
      const others = [...upstream.requests, ...elsewhere.requests].filter(
        (seen) => !known.includes(seen.url),
      );
      for (const seen of others) assert.match(seen.url, /^\/presigned\?/);
      for (const seen of stranger.requests) assert.equal(seen.url, one.narInfoPath);
      return [upstream.count(narInfoPath), host.count(pathname + search)];
    },
  };
}

/** Refers each request to an address that answers once. */
function presigned(host: TestUpstream, body: Buffer): Handler {
  let count = 0;
  return (...exchange) => {
    const address = `/presigned?X-Amz-Signature=${++count}`;
    host.on(address, (...second) => {
      host.on(address, status(403));
      whole(body)(...second);
    });
    redirect(host.url + address, 307)(...exchange);
  };
}

/** What was lost since a client got the narinfo, and how often narinfo and NAR have crossed the link in the end. */
const LOSSES: Record<string, (scene: Scene) => Promise<[narInfo: number, nar: number]>> = {
  'at once': async () => [1, 1],
  'after a restart': async ({ service }) => {
    await service.restart();
    return [1, 1];
  },
  'after the narinfo was evicted': async ({ service, one }) => {
    await evict(service, one.narInfoPath);
    return [2, 1];
  },
  'after the NAR was evicted': async ({ service, one, path }) => {
    await assertServed(service, path, one.file);
    await evict(service, path);
    return [1, 2];
  },
  'after both were evicted': async ({ service, one, path }) => {
    await assertServed(service, path, one.file);
    await evict(service, path, one.narInfoPath);
    return [2, 2];
  },
};

for (const [what, style] of Object.entries(STYLES)) {
  for (const [when, lose] of Object.entries(LOSSES)) {
    test(`${what}: the NAR is asked for ${when} → its bytes, from where they are`, async (t) => {
      const scene = await startScene(t, style);
      const crossings = await lose(scene);
      await assertServed(scene.service, scene.path, scene.one.file);
      assert.deepEqual(scene.crossed(), crossings);
      await assertServed(scene.service, scene.path, scene.one.file);
      assert.deepEqual(scene.crossed(), crossings, 'it is kept');
    });
  }
}

/** The addresses in narinfos that were served before they had this form: clients keep them for a month. */
const FORMER: Record<string, (path: string, one: Package) => string> = {
  'with ?hash=': (path, one) => `${withoutHash(path, one)}?hash=${one.hash}`,
  'with %3Fhash=': (path, one) => `${withoutHash(path, one)}%3Fhash=${one.hash}`,
  'with ?hash= behind the NarHash': (_, one) => `/nar/${nameByNarHash(one)}?hash=${one.hash}`,
  'with %3Fhash= behind the NarHash': (_, one) => `/nar/${nameByNarHash(one)}%3fhash=${one.hash}`,
};

function withoutHash(path: string, one: Package): string {
  return path.replace(`${one.hash}-`, '').replace(/\.gzip$/, '');
}

function nameByNarHash(one: Package): string {
  const compression = field(one.narInfo, 'Compression');
  const ending = compression === 'none' ? '' : `.${compression.replace('bzip2', 'bz2')}`;
  return `${one.hash}-${narHash(one)}.nar${ending}`;
}

for (const what of Object.keys(STYLES)) {
  for (const [how, former] of Object.entries(FORMER)) {
    test(`${what}: the NAR is asked for ${how} → the same bytes, crossed once`, async (t) => {
      const { crossed, one, path, service } = await startScene(t, STYLES[what] as Style);
      await service.restart();
      await assertServed(service, former(path, one), one.file);
      assert.deepEqual(crossed(), [1, 1]);
      for (const again of [path, ...Object.values(FORMER).map((each) => each(path, one))])
        await assertServed(service, again, one.file);
      assert.deepEqual(crossed(), [1, 1]);
    });
  }
}

test('nobody has the narinfo, and somebody answers everything → what its name promises is checked', async (t) => {
  const liar = await startUpstream(t);
  const one = makePackage('promised', { compression: 'br', fields: NO_FILE_HASH });
  liar.otherwise(whole('anything'));
  liar.on(one.narInfoPath, status(404));
  const service = await startTestService(t, { upstreams: [liar.url] });
  const path = `/nar/${one.hash}-${narHash(one)}.nar.br`;
  for (const query of ['', `?hash=${'0'.repeat(32)}`]) assertNotGood(await get(service.url, path + query));
  assert.equal((await head(service.url, path)).status, 404, 'it is not kept');
  liar.on(path, whole(one.file));
  await assertServed(service, path, one.file);
});
