// Which NARs are believed to be here, and for how long, and which are ready to be sent.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOf, type NarFile, Nars } from '../../lib/cache/nars.ts';
import type { KnownNarInfo } from '../../lib/narinfos/served-narinfos.ts';
import { sha256ToHex } from '../../lib/nix/hash.ts';
import { parseNarInfo } from '../../lib/nix/narinfo.ts';
import type { NarName } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import type { ObjectMeta, ReadyBody, Seen } from '../../lib/store/store.ts';
import { makePackage, sha256 } from '../fixtures/nar.ts';

const one = makePackage('one');
const NAME = one.narPath.slice(5) as NarName;
const FILE: NarFile = { kind: 'nar', name: NAME, hash: one.hash as StoreHash };
const SEEN: Seen = { version: 'v', freshForMs: 1000, used: () => {} };

function start() {
  const world = {
    now: 0,
    /** What a look without a wait finds. */
    seen: SEEN as Seen | 'none' | undefined,
    looks: 0,
    /** Of what is ready in the store. */
    meta: { origin: 'http://far.test' } as Partial<ObjectMeta>,
    /** By path. */
    asked: [] as string[],
    givenBack: 0,
    isNarInfoHere: true,
  };
  const store = {
    versionNow: () => {
      world.looks++;
      return world.seen;
    },
    isGone: async () => true,
    readyBody: (path: string): ReadyBody => {
      world.asked.push(path);
      const body = { bytes: one.file, giveBack: () => void world.givenBack++ };
      return { meta: world.meta as ObjectMeta, body };
    },
  };
  const info = parseNarInfo(one.narInfo, '/nix/store');
  const known = { info, narName: NAME } as KnownNarInfo;
  const nars = new Nars({
    storage: { store, scratch: {} } as never,
    narInfos: {
      here: () => (world.isNarInfoHere ? known : undefined),
      local: async () => undefined,
    },
    now: () => world.now,
  });
  return { fileHash: info.fileHash, nars, world };
}

test('what was seen is believed for a second, and then looked at without a wait for half a minute', () => {
  const { nars, world } = start();
  assert.ok(!nars.isReady(NAME), 'nobody has seen it');
  nars.saw(NAME, 0);
  world.now = 999;
  assert.ok(nars.isReady(NAME) && nars.wasSeen(NAME));
  assert.equal(world.looks, 0);
  world.now = 1000;
  assert.ok(!nars.wasSeen(NAME));
  assert.ok(nars.isReady(NAME));
  assert.equal(world.looks, 1);
  assert.ok(nars.wasSeen(NAME) && nars.isReady(NAME));
  assert.equal(world.looks, 1, 'it was seen a moment ago');
  for (const seen of ['none', undefined] as const) {
    world.now += 1000;
    world.seen = seen;
    assert.ok(!nars.isReady(NAME), String(seen));
  }
  world.seen = SEEN;
  assert.ok(nars.isReady(NAME));
  world.now += 30_000;
  assert.ok(!nars.isReady(NAME), 'a look may take long by now');
  nars.saw(NAME, world.now);
  nars.forget(NAME);
  assert.ok(!nars.isReady(NAME) && !nars.wasSeen(NAME));
});

test('the path of a NAR that is asked for again is known without its narinfo, for as long as that counts as used', () => {
  const { nars, world } = start();
  const isReady = () => nars.readyBody(FILE, keyOf(FILE)) !== undefined;
  world.isNarInfoHere = false;
  assert.ok(!isReady());
  assert.deepEqual(world.asked, []);
  world.isNarInfoHere = true;
  assert.ok(isReady());
  world.isNarInfoHere = false;
  assert.ok(isReady());
  assert.ok(world.asked.every((path) => path === one.narPath));
  world.now += 5 * 60_000;
  assert.ok(!isReady(), 'its narinfo is to be looked at');
  assert.equal(world.givenBack, 0);
});

test('what nobody checked is compared with its narinfo each time, and given back if it is another', () => {
  const { fileHash, nars, world } = start();
  const isReady = () => nars.readyBody(FILE, keyOf(FILE)) !== undefined;
  world.meta = { origin: 'unknown', sha256: fileHash && sha256ToHex(fileHash) };
  assert.ok(isReady());
  world.meta = { origin: 'unknown', sha256: sha256('other').toString('hex') };
  assert.ok(!isReady());
  assert.equal(world.givenBack, 1);
  world.meta = { origin: 'push', sha256: sha256('other').toString('hex') };
  assert.ok(isReady(), 'this has been checked');
});

test('a name with its store path in it is told apart from the same name of another', () => {
  const names = [FILE, { ...FILE, hash: undefined }, { ...FILE, hash: '0'.repeat(32) as StoreHash }];
  const own = { ...FILE, name: `${one.hash}-${NAME}` as NarName };
  assert.equal(new Set([...names, own].map(keyOf)).size, 4);
  assert.equal(keyOf(own), own.name);
});
