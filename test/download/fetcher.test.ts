// What a second request for the same file may know that the first did not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { piecesOf } from '../../lib/bytes/streams.ts';
import { Fetcher } from '../../lib/download/fetcher.ts';
import { CacheError } from '../../lib/errors.ts';
import type { CacheEvent } from '../../lib/events.ts';
import { NarInfos } from '../../lib/narinfos/narinfos.ts';
import type { NarName, ObjectName } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import type { Owner } from '../fixtures/defer.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { makePackage, type Package } from '../fixtures/nar.ts';
import { type Handler, startUpstream, status, whole } from '../fixtures/upstream.ts';
import { createWorld } from '../fixtures/upstreams.ts';

/** A fetcher from these upstreams into a store of its own. */
async function fetching(t: Owner, ...urls: string[]) {
  const { scratch, store } = (await Holdings.create(t)).storage;
  const world = createWorld(t);
  const events: CacheEvent[] = [];
  const shared = {
    ...{
      scratch,
      store,
      upstreams: world.upstreams(urls.map((url) => world.upstream(url))),
      storeDir: '/nix/store',
    },
    emit: (event: CacheEvent) => void events.push(event),
    signing: undefined,
    ...{ signal: world.stopping.signal, now: world.breakers.clock.now },
  };
  const narInfos = new NarInfos(shared);
  const limits = {
    deadlines: { firstByteMs: 10_000 },
    connections: 1,
    maxDownloads: 4,
    maxSpoolBytes: 2 ** 30,
  };
  const fetcher = new Fetcher({ ...shared, ...limits, narInfos });
  const idle = async () => {
    await Promise.all([fetcher.idle(), narInfos.idle()]);
    await scratch.idle();
  };
  return { fetcher, idle, pass: world.pass, store, events };
}

const nar = (one: Package, hash?: string): Extract<ObjectName, { kind: 'nar' }> => ({
  ...{ kind: 'nar', name: one.narPath.slice(5) as NarName, hash: hash as StoreHash | undefined },
});

for (const [what, answer] of [
  ['is told that there is no such file', status(404)],
  ['gets an error', status(500)],
] as const) {
  test(`whoever began it without the store hash ${what}; whoever joined with it gets the file`, async (t) => {
    const one = makePackage('elsewhere', { url: 'files/own.nar' });
    const upstream = await startUpstream(t);
    let answerFirst = () => {};
    const held: Handler = (request, response) => {
      answerFirst = () => answer(request, response);
    };
    upstream.on(one.narPath, held);
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on('/files/own.nar', whole(one.file));
    const { fetcher, idle } = await fetching(t, upstream.url);
    const first = fetcher.fetch(nar(one)).then(
      ({ value }) => value,
      () => 'failed',
    );
    await upstream.asked(one.narPath);
    const second = fetcher.fetch(nar(one, one.hash));
    answerFirst();
    assert.ok([undefined, 'failed'].includes((await first) as string | undefined));
    const { value } = await second;
    assert.ok(value !== undefined && value !== 'stored');
    const place = value.hold();
    assert.ok(place !== undefined);
    const parts: Buffer[] = [];
    for await (const piece of piecesOf(place.open(0, undefined))) parts.push(Buffer.from(piece));
    assert.ok(Buffer.concat(parts).equals(one.file));
    await idle();
  });
}

test('whoever sent wrong bytes is asked last for ten minutes', async (t) => {
  const one = makePackage('wrong');
  const [liar, other] = [await startUpstream(t), await startUpstream(t)];
  liar.on(one.narPath, whole(Buffer.alloc(one.file.length)));
  other.on(one.narPath, whole(one.file));
  const { fetcher, idle, pass, store } = await fetching(t, liar.url, other.url);
  for (const [passed, asked] of [
    [0, 1],
    [600_000 - 1, 1],
    [1, 2],
  ] as const) {
    pass(passed);
    await fetcher.fetch(nar(one));
    await idle();
    assert.equal(liar.count(one.narPath), asked);
    assert.ok(await store.delete(one.narPath), 'the other one had it right');
  }
});

test('what every upstream lacks is missing, also where the disk does not let its narinfo go', async (t) => {
  const one = makePackage('evicted');
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const { fetcher, idle, store } = await fetching(t, upstream.url);
  t.mock.method(store, 'delete', async () => {
    throw new CacheError('storage', 'read-only file system');
  });
  assert.equal((await fetcher.fetch(nar(one, one.hash))).value, undefined);
  await idle();
});

test('whoever joins a download is told of, whoever finds the file stored is not', async (t) => {
  const one = makePackage('joined');
  const upstream = await startUpstream(t);
  let answer = () => {};
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, (request, response) => {
    answer = () => whole(one.file)(request, response);
  });
  const { events, fetcher, idle } = await fetching(t, upstream.url);
  const first = fetcher.fetch(nar(one, one.hash));
  await upstream.asked(one.narPath);
  const second = fetcher.fetch(nar(one, one.hash));
  answer();
  await Promise.all([first, second]);
  await idle();
  await fetcher.fetch(nar(one, one.hash));
  const told = events.flatMap((event) => (event.kind.startsWith('download-') ? [event.kind] : []));
  assert.deepEqual(told, ['download-begun', 'download-joined', 'download-ended']);
});
