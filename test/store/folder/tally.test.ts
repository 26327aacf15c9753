import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tally } from '../../../lib/store/folder/tally.ts';

test('nothing is known before it was counted; then what comes and goes is added', () => {
  const tally = new Tally();
  tally.changed(5, 500);
  assert.equal(tally.totals, undefined);
  tally.counting()({ objects: 10, bytes: 1000 });
  assert.deepEqual(tally.totals, { objects: 10, bytes: 1000 }, 'what came before is in the count');
  tally.changed(2, 200);
  tally.changed(-1, -50);
  assert.deepEqual(tally.totals, { objects: 11, bytes: 1150 });
  tally.changed(-20, -2000);
  assert.deepEqual(tally.totals, { objects: 0, bytes: 0 }, 'never less than nothing');
});

test('what comes while it is counted is not forgotten, though it may be counted twice', () => {
  const tally = new Tally();
  for (const known of [10, 20]) {
    const counted = tally.counting();
    tally.changed(3, 300);
    counted({ objects: known, bytes: 100 * known });
    assert.deepEqual(tally.totals, { objects: known + 3, bytes: 100 * known + 300 });
  }
});

test('whoever watches hears of every change, and of a full disk', () => {
  const tally = new Tally();
  const heard: boolean[] = [];
  tally.watch((full) => heard.push(full));
  tally.changed(1, 1);
  tally.full();
  tally.counting()({ objects: 1, bytes: 1 });
  assert.deepEqual(heard, [false, true, false]);
});
