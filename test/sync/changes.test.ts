import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Changes } from '../../lib/sync/changes.ts';
import { handClock } from '../fixtures/hand-clock.ts';

/** Whether each of them has settled by now. */
async function settled(...waits: Promise<void>[]): Promise<boolean[]> {
  const all = waits.map(() => false);
  waits.forEach((wait, i) => {
    wait.then(() => {
      all[i] = true;
    });
  });
  await turn();
  return all;
}

test('everybody who waits hears of a change, and whoever waits after it hears of the next', async () => {
  const changes = new Changes();
  changes.tell();
  const [a, b] = [changes.next(), changes.next()];
  assert.deepEqual(await settled(a, b), [false, false], 'what was before is not heard of');
  changes.tell();
  const c = changes.next();
  assert.deepEqual(await settled(a, b, c), [true, true, false]);
  changes.tell();
  assert.deepEqual(await settled(c), [true]);
});

test('whoever waits again while all are being told is not told twice, and the telling ends', async () => {
  const changes = new Changes();
  let looks = 0;
  const looking = (async () => {
    while (looks < 3) {
      await changes.next();
      looks++;
    }
  })();
  for (let told = 1; told <= 3; told++) {
    changes.tell();
    await turn();
    assert.equal(looks, told);
  }
  await looking;
});

test('a wait ends after its time, by whose clock it is to be, and a change before that stops the clock', async () => {
  const changes = new Changes();
  const { after, pass } = handClock();
  const running = { timers: 0 };
  const counted = (ms: number, run: () => void) => {
    running.timers++;
    const cancel = after(ms, run, false);
    return () => {
      running.timers--;
      cancel();
    };
  };
  const [short, long] = [changes.next({ ms: 10, after: counted }), changes.next({ ms: 20, after: counted })];
  pass(10);
  assert.deepEqual(await settled(short, long), [true, false]);
  changes.tell();
  assert.deepEqual(await settled(long), [true]);
  assert.equal(running.timers, 0);
  await changes.next({ ms: 1 });
});

test('a signal ends the wait of whoever gave it, at once if it is aborted already, and keeps no listener', async () => {
  const changes = new Changes();
  const gone = new AbortController();
  const [one, other] = [changes.next({ signal: gone.signal, ms: 1_000_000 }), changes.next()];
  gone.abort();
  assert.deepEqual(await settled(one, other), [true, false]);
  assert.deepEqual(await settled(changes.next({ signal: gone.signal, ms: 1_000_000 })), [true]);
  const { signal } = new AbortController();
  for (let i = 0; i < 20; i++) {
    const waiting = changes.next({ signal });
    changes.tell();
    await waiting;
  }
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});
