// One NAR name or one store path means different bytes at different upstreams. They never mix: whoever has a narinfo
// gets the bytes that it describes, or none.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { assertNotGood, get } from '../fixtures/client.ts';
import { evict, narPathFrom } from '../fixtures/forgetting.ts';
import { assertServed } from '../fixtures/gated-nar.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { makePackage, type Package, type PackageOptions } from '../fixtures/nar.ts';
import { gated, startUpstream, status, type TestUpstream, whole } from '../fixtures/upstream.ts';

interface Side {
  readonly upstream: TestUpstream;
  readonly one: Package;
}

/** Where both upstreams have a NAR. */
const NAME = '/nar/abc.nar.br';
const common: PackageOptions = { size: 300_000, compression: 'br', url: NAME.slice(1) };
/** Without a FileHash, the NarHash alone tells the files apart. */
const NARINFOS: Record<string, PackageOptions> = {
  'with FileHash': common,
  'without FileHash': { ...common, fields: { FileHash: undefined, FileSize: undefined } },
};

async function startSide(t: TestContext, one: Package): Promise<Side> {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(NAME, whole(one.file));
  return { upstream, one };
}

/** Fails unless each path has its side's bytes, when each download begins before another can end. */
async function assertServedAtOnce(service: TestService, paths: readonly string[], sides: readonly Side[]) {
  const gates = sides.map(({ one }) => gated(one.file));
  for (const [i, { upstream }] of sides.entries())
    upstream.on(NAME, (...exchange) => gates[i]?.handler(...exchange));
  const before = sides.map(({ upstream }) => upstream.count(NAME));
  const replies = paths.map((path) => get(service.url, path));
  await Promise.all(sides.map(({ upstream }, i) => upstream.asked(NAME, (before[i] ?? 0) + 1)));
  for (const gate of gates) gate.release();
  for (const [i, { one }] of sides.entries()) {
    const reply = await replies[i];
    assert.ok(reply?.complete && reply.body.equals(one.file));
  }
}

for (const [how, options] of Object.entries(NARINFOS)) {
  test(`two packages ${how} under one NAR name → each its bytes, also when narinfos and NARs are evicted`, async (t) => {
    const sides = [
      await startSide(t, makePackage('left', options)),
      await startSide(t, makePackage('right', options)),
    ];
    const service = await startTestService(t, { upstreams: sides.map(({ upstream }) => upstream.url) });
    // Nobody can say which of the two is meant, or if that is right; what it brings must not be taken for either.
    await get(service.url, NAME);
    const paths = await Promise.all(sides.map(({ one }) => narPathFrom(service, one)));
    await assertServedAtOnce(service, paths, sides);
    await evict(service, ...paths, ...sides.map(({ one }) => one.narInfoPath));
    await assertServedAtOnce(service, paths.toReversed(), sides.toReversed());
  });

  test(`two builds ${how} of one store path → each its bytes, whichever narinfo is held`, async (t) => {
    const { service, left, right, paths } = await startBuilds(t, options);
    await assertServedAtOnce(service, paths, [left, right]);
    await evict(service, ...paths);
    await assertServedAtOnce(service, paths, [left, right]);
    await evict(service, ...paths, left.one.narInfoPath);
    await assertServedAtOnce(service, paths, [left, right]);
  });

  test(`two builds ${how} of one store path, one of them lost → a miss, not the other`, async (t) => {
    const { service, left, right, paths } = await startBuilds(t, options);
    right.upstream.on(right.one.narInfoPath, status(404));
    right.upstream.on(NAME, status(404));
    assert.equal((await get(service.url, paths[1])).status, 404);
    await assertServed(service, paths[0], left.one.file);
    assert.equal(await narPathFrom(service, left.one), paths[0], 'its narinfo is kept');
  });

  test(`two builds ${how} of one store path, one of them corrupted → no complete body, not kept`, async (t) => {
    const { service, right, paths } = await startBuilds(t, options);
    const other = makePackage('corrupted', options);
    right.upstream.on(NAME, whole(other.file));
    assertNotGood(await get(service.url, paths[1]));
    right.upstream.on(NAME, whole(right.one.file));
    await assertServed(service, paths[1], right.one.file);
  });

  test(`two builds ${how} of one store path, the upstream of one away → 502, not a miss`, async (t) => {
    const { service, left, right, paths } = await startBuilds(t, options);
    // What is left of it answers for paths that it never had.
    right.upstream.on(right.one.narInfoPath, status(500));
    assert.equal((await get(service.url, paths[1])).status, 502);
    await evict(service, left.one.narInfoPath);
    left.upstream.on(left.one.narInfoPath, status(404));
    assert.equal((await get(service.url, paths[1])).status, 502, 'without any narinfo too');
    right.upstream.on(right.one.narInfoPath, whole(right.one.narInfo));
    await assertServed(service, paths[1], right.one.file);
  });
}

interface Builds {
  readonly service: TestService;
  readonly left: Side;
  readonly right: Side;
  /** What clients remember of the left and of the right one. */
  readonly paths: readonly [left: string, right: string];
}

/** A service that gave a client the right one's narinfo, lost it, and holds the left one's now. */
async function startBuilds(t: TestContext, options: PackageOptions): Promise<Builds> {
  const left = await startSide(t, makePackage('built-twice', { ...options, seed: 'left' }));
  const right = await startSide(t, makePackage('built-twice', { ...options, seed: 'right' }));
  const service = await startTestService(t, { upstreams: [left.upstream.url, right.upstream.url] });
  left.upstream.on(left.one.narInfoPath, status(404));
  const rightPath = await narPathFrom(service, right.one);
  await evict(service, right.one.narInfoPath);
  left.upstream.on(left.one.narInfoPath, whole(left.one.narInfo));
  const leftPath = await narPathFrom(service, left.one);
  assert.notEqual(leftPath, rightPath);
  return { service, left, right, paths: [leftPath, rightPath] };
}
