import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import type { Expected } from '../../lib/ahead/batch.ts';
import { NarsAhead } from '../../lib/ahead/nars-ahead.ts';
import type { CacheEvent } from '../../lib/events.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import type { Ahead } from '../../lib/sync/ahead.ts';

const hashOf = (n: number) => `${n}`.padStart(32, '0') as StoreHash;
const BYTES = 1000;

interface Fetch {
  readonly hash: StoreHash | undefined;
  readonly ahead: Ahead;
  readonly quit: AbortSignal;
  /** It has come. */
  done(): void;
}

function start({ room = Number.POSITIVE_INFINITY, bytes = BYTES } = {}) {
  const clock = { ms: 0, timers: [] as { at: number; run: () => void }[] };
  const fetches: Fetch[] = [];
  const events: CacheEvent[] = [];
  let left = room;
  const stop = new AbortController();
  const nars = new NarsAhead({
    fetcher: {
      fetchAhead: ({ hash }, ahead, quit) =>
        new Promise((resolve) => {
          quit.addEventListener('abort', () => resolve(undefined));
          fetches.push({ hash, ahead, quit, done: () => resolve(bytes) });
        }),
    },
    expected: async (hash) =>
      ({
        hash,
        name: hash,
        references: [hashOf(Number(hash) - 1)],
        bytes,
        narName: 'x.nar',
      }) as unknown as Expected,
    room: {
      look: () => undefined,
      take: (wanted) => {
        if (wanted > left) return false;
        left -= wanted;
        return true;
      },
    },
    emit: (event) => void events.push(event),
    signal: stop.signal,
    now: () => clock.ms,
    after: (ms, run) => {
      clock.timers.push({ at: clock.ms + ms, run });
      return () => {};
    },
  });
  const settled = async () => {
    for (let n = 0; n < 5; n++) await immediate();
  };
  const pass = async (ms: number) => {
    clock.ms += ms;
    for (const { run } of clock.timers.splice(0).filter(({ at, run }) => {
      if (at > clock.ms) clock.timers.push({ at, run });
      return at <= clock.ms;
    }))
      run();
    await settled();
  };
  /** Asks for the NAR; what is answered is called when the client has it. */
  const load = async (client: string | undefined, n: number) => {
    const gone = new AbortController();
    nars.narAsked(client, hashOf(n), (over) => gone.signal.addEventListener('abort', over));
    await settled();
    return () => gone.abort();
  };
  const askFor = (client: string, count: number, from = 0) => {
    for (let n = from; n < from + count; n++) nars.narInfoAsked(client, hashOf(n));
  };
  return { askFor, events, fetches, load, nars, pass, settled, stop };
}

test('a client that has gone quiet has nothing more fetched, and what is on its way is given up', async () => {
  const { askFor, fetches, load, pass, settled } = start();
  askFor('a', 300);
  const left = await load('a', 0);
  assert.equal(fetches.length, 64);
  await pass(3600_000);
  assert.ok(
    fetches.every(({ quit }) => !quit.aborted),
    'while it gets something it is not quiet',
  );
  left();
  await pass(3000);
  assert.ok(!fetches[0]?.quit.aborted);
  await pass(3000);
  assert.ok(fetches.every(({ quit }) => quit.aborted));
  await settled();
  assert.equal(fetches.length, 64);
  // It comes back: what was given up is fetched again.
  (await load('a', 1))();
  assert.equal(fetches.length, 64 + 64);
  assert.ok(!fetches[64]?.quit.aborted);
});

test('one that was wanted is not counted as unused, whether it was there already or on its way', async () => {
  const { askFor, events, fetches, load, settled } = start();
  askFor('a', 10);
  await load('a', 0);
  fetches[0]?.done();
  await settled();
  await load('b', 1);
  await load('a', 2);
  assert.ok(fetches[1]?.ahead.isWanted);
  fetches[1]?.done();
  await settled();
  const kinds = events.map((event) => (event.kind === 'ahead-settled' ? `${event.used}` : event.kind));
  assert.deepEqual(kinds, ['ahead-fetched', 'true', 'ahead-fetched', 'true']);
});

test('a client that asks for narinfos without end is remembered in part, and clients without number too', async () => {
  const { askFor, fetches, load } = start();
  askFor('a', 200_000);
  await load('a', 1);
  assert.equal(fetches.length, 0, 'long forgotten');
  await load('a', 199_999);
  assert.equal(fetches.length, 64);
  for (let n = 0; n < 2000; n++) askFor(`client ${n}`, 1);
  await load('a', 199_998);
  assert.equal(fetches.length, 64, 'so is the client by now');
});

test('what nobody has asked for is bounded over all clients', async () => {
  const { askFor, fetches, load, settled } = start({ bytes: 64 << 20 });
  for (let n = 0; n < 100; n++) {
    askFor(`client ${n}`, 50, 100 * n);
    await load(`client ${n}`, 100 * n);
  }
  await settled();
  assert.equal(fetches.length, 64, 'four gigabytes');
});

test('without room nothing is fetched, and in a service that stops neither', async () => {
  const small = start({ room: 3 * BYTES });
  small.askFor('a', 10);
  await small.load('a', 0);
  assert.equal(small.fetches.length, 3);
  const stopped = start();
  stopped.askFor('a', 10);
  stopped.stop.abort();
  await stopped.load('a', 0);
  assert.equal(stopped.fetches.length, 0);
});

test('a pause begins another occasion', async () => {
  const { askFor, fetches, load, pass } = start();
  askFor('a', 5);
  await pass(6000);
  askFor('a', 5, 5);
  await load('a', 7);
  assert.deepEqual(fetches.map(({ hash }) => hash).sort(), [5, 6, 8, 9].map(hashOf));
  await load('a', 2);
  assert.equal(fetches.length, 8, 'the one before is not forgotten');
});
