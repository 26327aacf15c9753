import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Ahead } from '../../lib/sync/ahead.ts';
import { type Ask, race } from '../../lib/upstream/race.ts';

/** A question whose answer the test gives, and that notes when it is asked and given up. */
function question() {
  let settle: { resolve(answer: string | undefined): void; reject(error: Error): void } | undefined;
  let given: () => void = () => {};
  const asked = new Promise<void>((resolve) => {
    given = resolve;
  });
  const state = { asked: false, over: false, stubborn: false };
  const ask: Ask<string> = (signal) =>
    new Promise((resolve, reject) => {
      state.asked = true;
      given();
      settle = { resolve, reject };
      signal.addEventListener('abort', () => {
        state.over = true;
        if (!state.stubborn) reject(new Error('given up'));
      });
    });
  return {
    state,
    ask,
    asked,
    answer: (text: string | undefined) => settle?.resolve(text),
    fail: (message: string) => settle?.reject(new Error(message)),
  };
}

function start(
  questions: readonly ReturnType<typeof question>[],
  hedgeDelayMs: number | ((index: number) => number),
) {
  const failed: number[] = [];
  const stop = new AbortController();
  const discarded: string[] = [];
  const outcome = race(
    questions.map(({ ask }) => ask),
    {
      ...{ hedgeDelayMs, signal: stop.signal, onFailure: (index: number) => failed.push(index) },
      discard: (answer: string) => discarded.push(answer),
    },
  ).then(({ found, failures }) => ({
    found,
    failures: failures.map(({ index, error }) => `${index}: ${error}`),
  }));
  return { outcome, failed, discarded, stop };
}

const soon = () => new Promise(setImmediate);
const NEVER = Number.POSITIVE_INFINITY;

test('the next is asked when one says no or fails, and only then', async () => {
  const [a, b, c] = [question(), question(), question()];
  const { outcome, failed } = start([a, b, c], NEVER);
  await soon();
  assert.deepEqual([a.state.asked, b.state.asked, c.state.asked], [true, false, false]);
  a.answer(undefined);
  await b.asked;
  await soon();
  assert.equal(c.state.asked, false);
  b.fail('broken');
  await c.asked;
  c.answer('c');
  const { found, failures } = await outcome;
  assert.equal(found, 'c');
  assert.deepEqual(failures, ['1: Error: broken']);
  assert.deepEqual(failed, [1]);
});

test('after the delay the next is asked too; the first good answer wins and the others are given up', async () => {
  const [a, b, c] = [question(), question(), question()];
  const { outcome, failed } = start([a, b, c], 5);
  await c.asked;
  b.answer(undefined);
  c.answer('c');
  assert.equal((await outcome).found, 'c');
  assert.deepEqual([a.state.over, b.state.asked], [true, true]);
  await soon();
  assert.deepEqual(failed, [], 'giving up is no failure');
});

test('a late answer of the preferred one still wins while nobody else has one', async () => {
  const [a, b] = [question(), question()];
  const { outcome } = start([a, b], 0);
  await b.asked;
  a.answer('a');
  assert.equal((await outcome).found, 'a');
  assert.equal(b.state.over, true);
});

test('nothing is found when all have said no or failed, and not before', async () => {
  const [a, b] = [question(), question()];
  const { outcome } = start([a, b], 0);
  await b.asked;
  b.answer(undefined);
  let over = false;
  void outcome.then(() => {
    over = true;
  });
  await soon();
  assert.equal(over, false);
  a.fail('late');
  assert.deepEqual((await outcome).failures, ['0: Error: late']);
  assert.deepEqual(await start([], 0).outcome, { found: undefined, failures: [] });
});

test('it ends when it is no longer wanted', async () => {
  const a = question();
  const { outcome, stop } = start([a], NEVER);
  stop.abort(new Error('stopping'));
  const { found, failures } = await outcome;
  assert.equal(found, undefined);
  assert.deepEqual(failures, []);
  assert.equal(a.state.over, true);
  const never = question();
  const late = race([never.ask], { hedgeDelayMs: 0, signal: stop.signal, onFailure: () => {} });
  assert.equal((await late).found, undefined);
  assert.equal(never.state.asked, false);
});

test('a good answer that comes too late is handed over to be cleaned up, a late no or failure is not', async () => {
  const [a, b, c, d] = [question(), question(), question(), question()];
  for (const { state } of [a, b, c]) state.stubborn = true;
  const { outcome, discarded, failed } = start([a, b, c, d], 0);
  await d.asked;
  d.answer('d');
  assert.equal((await outcome).found, 'd');
  a.answer('a');
  b.answer(undefined);
  c.fail('late');
  await soon();
  assert.deepEqual([discarded, failed], [['a'], []]);
});

test('the signal of the winner is never aborted: its answer goes on', async () => {
  const [a, b] = [question(), question()];
  const { outcome, stop } = start([a, b], 0);
  await b.asked;
  a.answer('a');
  await outcome;
  stop.abort(new Error('stopping'));
  await soon();
  assert.deepEqual([a.state.over, b.state.over], [false, true]);
});

test('each has a delay of its own', async () => {
  const [a, b, c] = [question(), question(), question()];
  const { stop } = start([a, b, c], (index) => (index === 0 ? 1 : NEVER));
  await b.asked;
  await soon();
  assert.equal(c.state.asked, false);
  stop.abort(new Error('stopping'));
});

test('what nobody waits for is asked of one at a time, until somebody waits for it', async () => {
  const ahead = new Ahead();
  const asked: number[] = [];
  const waits = (n: number): Ask<string> => {
    return (signal) => {
      asked.push(n);
      return new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        if (n === 1) resolve('second');
      });
    };
  };
  const { signal } = new AbortController();
  const over = race([waits(0), waits(1)], { hedgeDelayMs: 1, signal, ahead, onFailure: () => {} });
  await delay(30);
  assert.deepEqual(asked, [0]);
  ahead.wanted();
  assert.equal((await over).found, 'second');
  assert.deepEqual(asked, [0, 1]);
});
