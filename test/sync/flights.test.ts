import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Flight, Flights } from '../../lib/sync/flights.ts';

test('whoever asks while work is under way gets its answer, until it has ended', async () => {
  const flights = new Flights<number>();
  let starts = 0;
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const start = async (): Promise<Flight<number>> => ({ value: ++starts, ended });
  const [first, second] = await Promise.all([flights.join('a', start), flights.join('a', start)]);
  assert.deepEqual(
    [first, second],
    [
      { value: 1, joined: false },
      { value: 1, joined: true },
    ],
  );
  assert.deepEqual(await flights.join('a', start), { value: 1, joined: true });
  assert.deepEqual(await flights.join('b', start), { value: 2, joined: false });
  end();
  await flights.idle();
  assert.deepEqual(await flights.join('a', start), { value: 3, joined: false });
});

test('a failure reaches all who wait for it and nobody after them', async () => {
  const flights = new Flights<number>();
  const failing = async () => Promise.reject(new Error('no'));
  const joined = [flights.join('a', failing), flights.join('a', failing)];
  for (const one of joined) await assert.rejects(one, /no/);
  assert.equal((await flights.join('a', async () => ({ value: 1, ended: Promise.resolve() }))).value, 1);
});
