// Narinfos whose NAR nobody had a moment ago.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NarInfos } from '../../lib/narinfos/narinfos.ts';
import type { NarName } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';
import { createWorld } from '../fixtures/upstreams.ts';

test('a narinfo whose NAR nobody had is not believed for five seconds; one that names another NAR is', async (t) => {
  const [one, other] = [makePackage('one'), makePackage('other')];
  const world = createWorld(t);
  const upstream = await startUpstream(t);
  for (const { narInfo, narInfoPath } of [one, other]) upstream.on(narInfoPath, whole(narInfo));
  const { store } = (await Holdings.create(t)).storage;
  const narInfos = new NarInfos({
    ...{ store, upstreams: world.upstreams([world.upstream(upstream.url)]), storeDir: '/nix/store' },
    ...{ emit: () => {}, signing: undefined },
    ...{ signal: world.stopping.signal, now: world.breakers.clock.now },
  });
  const nameOf = async (hash: string) => (await narInfos.find(hash as StoreHash))?.known.narName;
  const name = await nameOf(one.hash);
  assert.ok(name !== undefined);
  await narInfos.idle();

  await narInfos.lose(one.hash as StoreHash, name);
  world.pass(5000 - 1);
  assert.equal(await nameOf(one.hash), undefined);
  assert.ok((await nameOf(other.hash)) !== undefined, 'of another path');
  world.pass(1);
  assert.equal(await nameOf(one.hash), name, 'asked for again, and believed');
  await narInfos.idle();

  await narInfos.lose(one.hash as StoreHash, 'other.nar' as NarName);
  assert.equal(await nameOf(one.hash), name, 'what it does not name is nothing to it');
  await narInfos.lose(one.hash as StoreHash, name);
  const line = (name: 'URL' | 'FileHash') => `${name}: ${field(other.narInfo, name)}`;
  const renamed = one.narInfo.replace(/^URL: .*$/m, line('URL')).replace(/^FileHash: .*$/m, line('FileHash'));
  upstream.on(one.narInfoPath, whole(renamed));
  assert.ok(![undefined, name].includes(await nameOf(one.hash)), 'it names another one by now');
  await narInfos.idle();
});
