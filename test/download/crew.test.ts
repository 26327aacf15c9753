// Who fetches what from whom while all goes well, or slowly. What fails is in crew-failures.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { sleep, stopClock } from '../fixtures/clock.ts';
import { soon, startCrew } from '../fixtures/crew.ts';
import { fakeSource } from '../fixtures/fake-source.ts';
import { noise } from '../fixtures/nar.ts';

const MIB = 2 ** 20;
const BODY = noise(16 * MIB, 'crew');
const SMALL = BODY.subarray(0, 100_000);

test('workers take one range after the other, in order, each byte once', async (t) => {
  const clock = stopClock(t);
  const source = fakeSource('source', BODY, { chunk: 65_536, before: () => sleep(10) });
  const crew = await startCrew(BODY, [source], { connections: 4 });
  await clock.until(crew.ended);
  crew.assertWhole();
  assert.ok(source.asks.length >= 8, `${source.asks.length} requests`);
  assert.deepEqual(
    source.asks.map(([start]) => start),
    [0, ...source.asks.slice(0, -1).map(([, end]) => end)],
  );
  assert.equal(source.bytes, BODY.length);
});

test('the first request shows whether a source answers ranges; only then do others come', async () => {
  let answer = () => {};
  const answered = new Promise<undefined>((resolve) => {
    answer = () => resolve(undefined);
  });
  const stalled = new Promise<void>(() => {});
  const source = fakeSource('source', BODY, { asked: () => answered, before: () => stalled });
  const crew = await startCrew(BODY, [source], { connections: 4 });
  await turn();
  assert.deepEqual(source.asks, [[0, 2 * MIB]]);
  answer();
  await soon(() => source.open === 4, 'four answers');
  crew.abort(new Error('enough'));
  await assert.rejects(crew.ended, /enough/);
});

test('a source that ignores Range is asked once, by one worker, and used from the offset on', async () => {
  const whole = fakeSource('whole', BODY, { chunk: 65_536, ranges: false });
  const crew = await startCrew(BODY, [whole], { connections: 4, from: MIB + 1 });
  await crew.ended;
  crew.assertWhole();
  assert.equal(Math.min(...crew.writes), MIB + 1);
  assert.equal(whole.asks.length, 1);
  assert.equal(whole.open, 0);
});

test('a source that ignores Range fills every gap that others left, in one answer', async () => {
  const broken = fakeSource('broken', BODY, {
    chunk: 65_536,
    before: (at) => {
      if (at % (2 * MIB) === MIB / 2) throw new Error('reset');
    },
  });
  const whole = fakeSource('whole', BODY, { chunk: 65_536, ranges: false });
  const crew = await startCrew(BODY, [broken, whole], { connections: 4 });
  await crew.ended;
  crew.assertWhole();
  assert.equal(whole.asks.length, 1);
});

for (const [what, chunkMs, extra] of [
  ['will be busy for long gets help with the second half of its range', 1000, [[1_081_344, 2 * MIB]]],
  ['is nearly done is left alone', 100, []],
] as const) {
  test(`one who ${what}`, async (t) => {
    const clock = stopClock(t);
    // The others are done before the first has a pace.
    const source = fakeSource('source', BODY, {
      chunk: 65_536,
      before: (_, ask) => (ask === 1 ? sleep(chunkMs) : undefined),
    });
    const crew = await startCrew(BODY, [source], { connections: 2 });
    await clock.until(crew.ended);
    crew.assertWhole();
    const inside = source.asks.slice(1).filter(([start = 0]) => start < 2 * MIB);
    assert.deepEqual(inside, extra);
    assert.equal(source.open, 0);
  });
}

test('a source that crawls while a far faster one is there is left for it, from the next byte', async (t) => {
  const clock = stopClock(t);
  const slow = fakeSource('slow', SMALL, { before: () => sleep(100) });
  const fast = fakeSource('fast', SMALL);
  fast.upstream.pace.note(1_000_000, 1000);
  const crew = await startCrew(SMALL, [slow, fast]);
  await clock.until(crew.ended);
  crew.assertWhole();
  assert.deepEqual(slow.asks, [[0, 100_000]]);
  assert.deepEqual(fast.asks, [[50_000, 100_000]], 'after the five seconds it had to show its pace');
  assert.equal(slow.open, 0);
});

test('so is one that was fast for long, and then comes to a trickle', async (t) => {
  const clock = stopClock(t);
  const half = BODY.length / 2;
  const fading = fakeSource('fading', BODY, {
    ...{ chunk: 65_536, ranges: false },
    before: (at) => sleep(at < half ? 100 : 5000),
  });
  const other = fakeSource('other', BODY);
  other.upstream.pace.note(1_000_000, 1000);
  const crew = await startCrew(BODY, [fading, other]);
  await clock.until(crew.ended);
  crew.assertWhole();
  const good = (half / 65_536) * 100;
  assert.ok(clock.now <= good + 10_000, `${clock.now} ms, the first ${good} of them good`);
});

test('one that sends hardly anything is left for whoever was never measured', async (t) => {
  const clock = stopClock(t);
  const trickle = fakeSource('trickle', SMALL, { chunk: 900, before: () => sleep(1000) });
  const gone = fakeSource('gone', SMALL, { asked: () => false });
  const other = fakeSource('other', SMALL);
  const crew = await startCrew(SMALL, [trickle, gone, other]);
  await clock.until(crew.ended);
  crew.assertWhole();
  assert.deepEqual([trickle.asks.length, gone.asks.length, other.asks.length], [1, 1, 1]);
  assert.ok(clock.now <= 6000, `${clock.now} ms`);
});

for (const [what, pace, has] of [
  ['is less than ten times as fast', 99, true],
  ['was never measured', undefined, true],
  ['does not have it', 1000, false],
] as const) {
  test(`a source that crawls is not left for one that ${what}`, async (t) => {
    const clock = stopClock(t);
    const slow = fakeSource('slow', SMALL, { before: () => sleep(100) });
    const other = fakeSource('other', SMALL, { asked: () => has });
    if (pace !== undefined) other.upstream.pace.note(pace * 1000, 1000);
    const crew = await startCrew(SMALL, has ? [slow, other] : [other, slow]);
    await clock.until(crew.ended);
    crew.assertWhole();
    assert.equal(slow.asks.length, 1);
    assert.equal(other.bytes, 0);
  });
}

test('of two sources that crawl, whatever they once were, the second is kept', async (t) => {
  const clock = stopClock(t);
  const sources = ['a', 'b'].map((label) => fakeSource(label, SMALL, { before: () => sleep(100) }));
  for (const { upstream } of sources) upstream.pace.note(1_000_000_000, 1_000_000);
  const crew = await startCrew(SMALL, sources);
  await clock.until(crew.ended);
  crew.assertWhole();
  assert.deepEqual(
    sources.map(({ asks }) => asks.length),
    [1, 1],
  );
});

test('connections that share a link are slow together, not each alone', async (t) => {
  const clock = stopClock(t);
  // 40 bytes a millisecond each, 160 together: a tenth of the other, measured alone, is 100.
  const shared = fakeSource('shared', BODY, { chunk: 40_000, before: () => sleep(1000) });
  const other = fakeSource('other', BODY);
  other.upstream.pace.note(1_000_000, 1000);
  const crew = await startCrew(BODY, [shared, other], { connections: 4 });
  await clock.until(sleep(10_000));
  assert.deepEqual([shared.open, other.asks.length], [4, 0]);
  crew.abort(new Error('enough'));
  await assert.rejects(crew.ended, /enough/);
  await soon(() => shared.open === 0, 'closed');
});
