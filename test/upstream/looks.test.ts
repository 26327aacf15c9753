import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Looks } from '../../lib/upstream/looks.ts';
import { Trials } from '../../lib/upstream/trials.ts';
import { handClock } from '../fixtures/hand-clock.ts';

const soon = () => new Promise(setImmediate);

function setUp() {
  const clock = handClock();
  const running: (() => void)[] = [];
  const at: number[] = [];
  const look = () => {
    at.push(clock.now());
    return new Promise<void>((resolve) => running.push(resolve));
  };
  const looks = new Looks(look, clock);
  const finish = async () => {
    for (const end of running.splice(0)) end();
    await soon();
  };
  return { clock, looks, at, finish };
}

test('looks that take long are not doubled at once, but there is one at least every ten seconds', async () => {
  const { at, clock, looks } = setUp();
  looks.begin();
  for (let i = 0; i < 120; i++) clock.pass(500);
  const gaps = at.map((time, i) => time - (at[i - 1] ?? 0));
  assert.deepEqual(gaps.slice(0, 3), [1000, 6000, 8000], 'at 1, 7 and 15 s');
  assert.ok(
    gaps.every((gap) => gap <= 10_000),
    gaps.join(),
  );
});

test('distances go on where they were when it dies soon again, and begin anew when it did what it is for', async () => {
  const { at, clock, finish, looks } = setUp();
  looks.begin();
  clock.pass(1000);
  await finish();
  looks.end();
  assert.equal(clock.timers(), 0);
  clock.pass(100);
  looks.begin();
  clock.pass(1000);
  assert.equal(at.length, 1);
  clock.pass(1000);
  assert.equal(at.length, 2);
  await finish();
  looks.end();
  looks.calm();
  looks.begin();
  clock.pass(1000);
  assert.equal(at.length, 3);
});

test('whoever needs to know gets the look under way while it is young, or one that is due', async () => {
  const { at, clock, finish, looks } = setUp();
  looks.begin();
  assert.equal(looks.news(false, true), undefined, 'not yet, as it would take long');
  assert.equal(at.length, 0);
  assert.ok(looks.news(true, false), 'early, as it costs nothing');
  assert.equal(at.length, 1);
  assert.ok(looks.news(false, true));
  assert.equal(at.length, 1, 'the same');
  clock.pass(2000);
  assert.equal(looks.news(true, false), undefined, 'nobody waits for one that is so old');
  await finish();
  assert.ok(looks.news(true, false));
  const before = at.length;
  await finish();
  clock.pass(200);
  assert.equal(looks.news(true, false), undefined, 'not twice at once');
  clock.pass(50);
  assert.equal(looks.news(true, true), undefined, 'and where it takes long not twice within a second');
  assert.ok(looks.news(true, false));
  assert.ok(at.length > before);
});

test('whoever drops all packets for long is waited for no longer than half a second', async () => {
  const { clock, finish, looks } = setUp();
  looks.begin();
  for (let i = 0; i < 12; i++) {
    clock.pass(10_000);
    await finish();
  }
  clock.pass(10_000);
  clock.pass(400);
  assert.ok(looks.news(false, true));
  clock.pass(100);
  assert.equal(looks.news(false, true), undefined);
  assert.ok(looks.news(true, true), 'unless nobody else is alive');
});

test('what a waiter gets ends with the look', async () => {
  const { finish, looks } = setUp();
  looks.begin();
  let over = false;
  looks.news(true, false)?.then(() => {
    over = true;
  });
  await soon();
  assert.equal(over, false);
  await finish();
  await soon();
  assert.equal(over, true);
});

test('once closed it never looks again, nor keeps a timer', async () => {
  const { at, clock, looks } = setUp();
  looks.begin();
  looks.close();
  looks.begin();
  clock.pass(100_000);
  await looks.take();
  assert.equal(looks.news(true, false), undefined);
  assert.deepEqual([at.length, clock.timers()], [0, 0]);
});

test('a trial comes at distances from one to ten seconds, the first a second after it began to fail', () => {
  const clock = handClock();
  const trials = new Trials(clock);
  trials.begin();
  const waits: number[] = [];
  for (let i = 0; i < 6; i++) {
    let ms = 0;
    for (; !trials.take(); ms += 500) clock.pass(500);
    waits.push(ms);
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
  trials.calm();
  clock.pass(1000);
  assert.equal(trials.take(), true);
});
