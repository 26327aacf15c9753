// Whoever guesses has to wait; whoever does not, does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import { Guesses } from '../../lib/http/guesses.ts';

const GUESSER = '192.0.2.1';
const FOR_EVER = new AbortController().signal;

function guessedWrong(address: string, times: number, guesses = new Guesses(FOR_EVER)): Guesses {
  for (let i = 0; i < times; i++) guesses.wrong(address);
  return guesses;
}

test('a few wrong ones cost nothing, more of them a wait, for this address alone', async () => {
  const guesses = guessedWrong(GUESSER, 9);
  assert.equal(guesses.turn(GUESSER), undefined);
  guesses.wrong(GUESSER);
  const started = performance.now();
  assert.equal(guesses.turn('192.0.2.2'), undefined);
  await guesses.turn(GUESSER);
  assert.ok(performance.now() - started > 200);
});

test('attempts at once are looked at one after the other, and not more than a few wait', async () => {
  const guesses = guessedWrong(GUESSER, 10);
  const order: number[] = [];
  const attempts = [0, 1, 2].map(async (n) => {
    await guesses.turn(GUESSER);
    order.push(n);
  });
  for (let i = 3; i < 20; i++) guesses.turn(GUESSER)?.catch(() => {});
  assert.throws(
    () => guesses.turn(GUESSER),
    (error) => isCacheError(error, 'unauthorized') && /too many/.test(error.message),
  );
  const started = performance.now();
  await Promise.all(attempts);
  assert.deepEqual(order, [0, 1, 2]);
  assert.ok(performance.now() - started > 600);
});

test('one that was right there before is looked at without a wait, others as late as ever', async () => {
  const guesses = guessedWrong(GUESSER, 10);
  await guesses.turn(GUESSER, 'ours');
  guesses.right(GUESSER, 'ours');
  assert.equal(guesses.turn(GUESSER, 'ours'), undefined);
  assert.ok(guesses.turn(GUESSER, 'another'), 'right, but not known to be in use there');
  assert.ok(guesses.turn(GUESSER), 'wrong');
  for (let i = 0; i < 100; i++) guesses.right(GUESSER, 'ours');
  const started = performance.now();
  await guesses.turn(GUESSER);
  assert.ok(performance.now() - started > 400, 'it is the third of those that wait');
});

test('what is quick for a known one tells nobody who guesses it more than slow answers would', () => {
  const guesses = guessedWrong(GUESSER, 9);
  guesses.right(GUESSER, 'ours');
  guesses.wrong(GUESSER);
  // Somebody asks as fast as they can and waits for no answer.
  assert.throws(() => {
    for (let i = 0; i < 21; i++) guesses.turn(GUESSER)?.catch(() => {});
  });
  assert.throws(
    () => guesses.turn(GUESSER, 'ours'),
    (error) => isCacheError(error, 'unauthorized'),
  );
});

test('who is right before anybody was wrong is not remembered, and who is while a few were, is', () => {
  const guesses = guessedWrong('192.0.2.2', 9);
  guesses.right(GUESSER, 'ours');
  guesses.right('192.0.2.2', 'ours');
  guessedWrong(GUESSER, 10, guesses);
  guesses.wrong('192.0.2.2');
  assert.ok(guesses.turn(GUESSER, 'ours'));
  assert.equal(guesses.turn('192.0.2.2', 'ours'), undefined);
});

test('all of an IPv6 network is one guesser, and neighbouring networks are others', () => {
  const guesses = new Guesses(FOR_EVER);
  for (let i = 0; i < 10; i++) guesses.wrong(`2001:db8:0:1::${i.toString(16)}`);
  assert.throws(() => {
    for (let i = 0; i < 21; i++) guesses.turn('2001:db8:0:1:ffff:ffff:ffff:ffff')?.catch(() => {});
  });
  assert.equal(guesses.turn('2001:db8:0:2::1'), undefined);
  assert.equal(guesses.turn('2001:db8::1'), undefined);
});

test('no more guessers are remembered than fit', () => {
  const guesses = guessedWrong(GUESSER, 20);
  for (let i = 0; i < 10_000; i++) guesses.wrong(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  assert.equal(guesses.turn(GUESSER), undefined);
});

test('nobody waits any more once it has ended', async () => {
  const end = new AbortController();
  const guesses = guessedWrong(GUESSER, 15, new Guesses(end.signal));
  const waiting = [1, 2, 3].map(() => guesses.turn(GUESSER));
  const started = performance.now();
  end.abort(new CacheError('aborted', 'the service is stopping'));
  for (const one of [...waiting, guesses.turn(GUESSER)])
    await assert.rejects(
      async () => one,
      (error) => isCacheError(error, 'aborted'),
    );
  assert.ok(performance.now() - started < 1000);
});
