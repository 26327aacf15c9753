// How many downloads are under way at once, by what they weigh, and in which order the others follow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { Turns } from '../../lib/download/turns.ts';
import type { Expected } from '../../lib/download/verify.ts';

const SMALL = 64 * 1024;
const never = new AbortController().signal;

function start(maxDownloads: number, maxSpoolBytes = Number.POSITIVE_INFINITY) {
  const turns = new Turns(maxDownloads, maxSpoolBytes);
  const going: string[] = [];
  const releases = new Map<string, () => void>();
  const take = (label: string, expected: Partial<Expected>, isNar = true, signal = never) =>
    turns.take(expected as Expected, isNar, signal).then(
      (release) => {
        going.push(label);
        releases.set(label, release);
      },
      () => void going.push(`${label} gave up`),
    );
  /** What has begun since this was last asked. */
  const begun = async () => {
    await immediate();
    return going.splice(0).join(' ');
  };
  const end = (label: string) => releases.get(label)?.();
  return { begun, end, take };
}

const large = { fileSize: SMALL + 1 };
const small = { fileSize: SMALL };

test('four small NARs count for one', async () => {
  const { begun, end, take } = start(2);
  for (const n of [1, 2, 3, 4, 5]) void take(`small-${n}`, small);
  void take('large', large);
  assert.equal(await begun(), 'small-1 small-2 small-3 small-4 small-5');
  end('small-1');
  assert.equal(await begun(), 'large');
});

test('a large one is not passed by small ones that would fit', async () => {
  const { begun, end, take } = start(1);
  void take('small-1', small);
  void take('large', large);
  void take('small-2', small);
  assert.equal(await begun(), 'small-1');
  end('small-1');
  assert.equal(await begun(), 'large');
  end('large');
  end('large');
  assert.equal(await begun(), 'small-2');
});

test('what nobody tells the size of is large; of a NAR without a FileSize its NarSize counts', async () => {
  const nar = { compression: 'none', narHash: undefined, narSize: SMALL } as unknown as Expected['nar'];
  for (const [expected, together] of [
    [{}, 'first'],
    [{ nar }, 'first second third fourth'],
    [{ nar, fileSize: SMALL + 1 }, 'first'],
  ] as const) {
    const { begun, take } = start(1);
    for (const label of ['first', 'second', 'third', 'fourth', 'fifth']) void take(label, expected);
    assert.equal(await begun(), together);
  }
});

test('what is no NAR has turns of its own, twice as many, whatever its size', async () => {
  const { begun, end, take } = start(1);
  void take('nar', large);
  for (const label of ['listing', 'log', 'index']) void take(label, small, false);
  assert.equal(await begun(), 'nar listing log');
  end('log');
  assert.equal(await begun(), 'index');
});

test('all together take so much room at most, and whoever gives up waiting for that gives back its turn', async () => {
  const { begun, end, take } = start(2, 100_000);
  const stop = new AbortController();
  void take('first', { fileSize: 90_000 });
  void take('second', { fileSize: 70_000 }, true, stop.signal);
  void take('third', { fileSize: 5000 });
  assert.equal(await begun(), 'first', 'those behind it wait for a turn');
  stop.abort();
  assert.equal(await begun(), 'second gave up third');
  end('first');
  void take('fourth', { fileSize: 95_000 });
  assert.equal(await begun(), 'fourth');
});
