import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { NarInfosAhead } from '../../lib/ahead/narinfos-ahead.ts';
import { CacheError } from '../../lib/errors.ts';
import type { CacheEvent } from '../../lib/events.ts';
import type { NarInfos } from '../../lib/narinfos/narinfos.ts';
import type { KnownNarInfo } from '../../lib/narinfos/served-narinfos.ts';
import { hashPartOf, type StoreHash } from '../../lib/nix/store-path.ts';
import type { Upstream } from '../../lib/upstream/upstream.ts';

const hashOf = (n: number) => `${n}`.padStart(32, '0') as StoreHash;

/** One with references to these. */
function narInfo(n: number, references: readonly number[], bytes = 100): KnownNarInfo {
  const info = { hashPart: hashOf(n), references: references.map((one) => `${hashOf(one)}-name`) };
  return { info, text: 'x'.repeat(bytes) } as unknown as KnownNarInfo;
}

/** What is read ahead where `find` answers for each that is looked up. */
function readAhead(find: (n: number) => KnownNarInfo | undefined, kept = Promise.resolve()) {
  const asked: number[] = [];
  const events: CacheEvent[] = [];
  const clock = { ms: 0 };
  const state = { good: true, isStrict: false };
  const upstream = {
    health: {
      get good() {
        return state.good;
      },
      standing: {
        throttle: {
          get isStrict() {
            return state.isStrict;
          },
        },
      },
    },
  } as Partial<Upstream> as Upstream;
  const stop = new AbortController();
  const narInfos: Pick<NarInfos, 'findAhead'> = {
    findAhead: async (hash) => {
      const n = Number(hash);
      asked.push(n);
      await undefined;
      const known = find(n);
      if (known === undefined) return undefined;
      follow(known);
      return { known, kept };
    },
  };
  const emit = (event: CacheEvent) => void events.push(event);
  const ahead: NarInfosAhead = new NarInfosAhead({
    ...{ narInfos, upstreams: { all: [upstream] }, emit, signal: stop.signal, now: () => clock.ms },
  });
  const follow = ({ info }: KnownNarInfo) => ahead.follow(info.hashPart, info.references.map(hashPartOf));
  const settled = async () => {
    for (let before = -1; before !== asked.length; await immediate()) before = asked.length;
  };
  const counts = () => {
    const settledAs = (used: boolean) =>
      events.filter((event) => event.kind === 'ahead-settled' && event.used === used).length;
    const fetched = events.filter(({ kind }) => kind === 'ahead-fetched').length;
    return { fetched, used: settledAs(true), unused: settledAs(false) };
  };
  return { ahead, follow, asked, clock, counts, settled, state, stop };
}

test('an upstream that has always more to name ends at the bound, and goes on only where a client does', async () => {
  let next = 1;
  const endless = () => narInfo(next, [++next, ++next]);
  const { ahead, follow, asked, clock, counts, settled } = readAhead(endless);
  // A few are on their way when the bound is looked at.
  for (let n = 0; n < 100; n++) {
    follow(narInfo(0, [1_000_000 + n]));
    await settled();
  }
  assert.equal(asked.length, 20_000);
  ahead.asked(hashOf(asked[3] as number));
  follow(narInfo(0, [2_000_000]));
  await settled();
  assert.equal(counts().fetched, 20_001, 'one was used, one more is fetched');
  assert.equal(counts().used, 1);
  clock.ms += 11 * 60_000;
  assert.equal(counts().unused, 0, 'nobody looks');
  follow(narInfo(0, [3_000_000]));
  assert.equal(counts().unused, 20_000, 'nobody has come for them');
});

test('so it does when they are large', async () => {
  let next = 1;
  const { follow, asked, settled } = readAhead(() => narInfo(next, [++next], 1 << 20));
  follow(narInfo(0, [1]));
  await settled();
  assert.ok(asked.length >= 64 && asked.length < 80, `${asked.length}`);
});

test('one that names five thousand has them all looked up, each once, in the order of their names', async () => {
  const all = Array.from({ length: 5000 }, (_, n) => n + 1);
  const { follow, asked, settled } = readAhead((n) => narInfo(n, [0, n]));
  follow(narInfo(0, all));
  follow(narInfo(0, all));
  await settled();
  assert.deepEqual(asked.slice(0, 5000), all);
  assert.equal(asked.length, 5001, 'and the one that they all name');
});

test('while the disk takes none, few wait for it', async () => {
  const all = Array.from({ length: 5000 }, (_, n) => n + 1);
  const { follow, asked, settled } = readAhead((n) => narInfo(n, []), new Promise(() => {}));
  follow(narInfo(0, all));
  await settled();
  assert.ok(asked.length >= 1000 && asked.length < 1300, `${asked.length}`);
});

test('nothing is asked of the dead, of those who want to be left alone, or in a service that stops', async () => {
  const { follow, asked, settled, state, stop } = readAhead((n) => {
    if (n === 3) throw new CacheError('timeout', 'late');
    return narInfo(n, []);
  });
  state.good = false;
  follow(narInfo(0, [1, 2]));
  await settled();
  assert.deepEqual(asked, []);
  state.good = true;
  state.isStrict = true;
  follow(narInfo(0, [1, 2]));
  await settled();
  assert.deepEqual(asked, []);
  state.isStrict = false;
  follow(narInfo(0, [3, 4]));
  await settled();
  assert.deepEqual(asked, [3, 4], 'what waited then is forgotten; one that fails stops nobody');
  stop.abort();
  follow(narInfo(0, [5]));
  await settled();
  assert.deepEqual(asked, [3, 4]);
});
