import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import type { Slots } from '../../lib/sync/slots.ts';
import { Connections } from '../../lib/upstream/connections.ts';

/** How many can be had without waiting, which are given back. */
async function free(slots: Slots): Promise<number> {
  const releases: (() => void)[] = [];
  for (let had = true; had; ) {
    const enough = new AbortController();
    const wanted = slots.acquire(enough.signal).then(
      (release) => releases.push(release),
      () => undefined,
    );
    had = (await Promise.race([wanted, immediate()])) !== undefined;
    enough.abort();
  }
  for (const release of releases) release();
  return releases.length;
}

test('half of them are for large answers, and an odd one is for small', async () => {
  for (const [max, small, large] of [
    [2, 1, 1],
    [7, 4, 3],
  ] as const) {
    const connections = new Connections(max);
    assert.deepEqual([await free(connections.small), await free(connections.large)], [small, large]);
  }
});

test('each is one of those that all share, and is given back to them', async () => {
  const all = new Connections(6);
  const [one, two] = [new Connections(4, all), new Connections(100, all)];
  const signal = new AbortController().signal;
  const releases = [await one.large.acquire(signal), await one.large.acquire(signal)];
  assert.equal(await free(one.large), 0, 'its own bound holds');
  assert.equal(await free(two.large), 1, 'and that of all');
  assert.equal(await free(two.small), 3, 'small ones are apart');
  for (const release of releases) release();
  assert.equal(await free(two.large), 3);
});

test('who waits among all and leaves gives back what it has of its own', async () => {
  const all = new Connections(2);
  const one = new Connections(2, all);
  const signal = new AbortController().signal;
  const release = await all.large.acquire(signal);
  const gone = new AbortController();
  const waiting = one.large.acquire(gone.signal);
  gone.abort(new Error('gone'));
  await assert.rejects(waiting, /gone/);
  release();
  (await one.large.acquire(signal))();
});
