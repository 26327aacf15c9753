import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReadLately } from '../../../lib/store/folder/object-files.ts';

const DAY_MS = 24 * 3_600_000;

test('what was right is believed for a day, as long as it is the same file', (t) => {
  let now = 7;
  t.mock.method(performance, 'now', () => now);
  const lately = new ReadLately();
  assert.equal(lately.has('/a', '1', 5000), false);
  lately.add('/a', '1', 5000);
  now += DAY_MS - 1;
  assert.deepEqual(
    [lately.has('/a', '1', 5000), lately.has('/a', '2', 5000), lately.has('/b', '1', 5000)],
    [true, false, false],
  );
  now += 1;
  assert.equal(lately.has('/a', '1', 5000), false);
});

test('what has another time than it had is not believed, unless that was a use, which makes nothing lasting', (t) => {
  let now = 7;
  t.mock.method(performance, 'now', () => now);
  const lately = new ReadLately();
  lately.add('/a', '1', 5000);
  assert.deepEqual([lately.has('/a', '1', 5001.5), lately.has('/a', '1', 5010)], [true, false]);
  lately.touched('/a', '1', 4000, 6000);
  assert.equal(lately.has('/a', '1', 6000), false, 'it had been written to before it was used');
  now += DAY_MS - 1;
  lately.touched('/a', '1', 5000, 6000);
  assert.deepEqual([lately.has('/a', '1', 5000), lately.has('/a', '1', 6000)], [false, true]);
  now += 1;
  assert.equal(lately.has('/a', '1', 6000), false);
});

test('twenty thousand are remembered, those that were read last', () => {
  const lately = new ReadLately();
  for (let i = 0; i < 20_000; i++) lately.add(`/${i}`, '1', 5000);
  lately.add('/0', '1', 5000);
  lately.add('/new', '1', 5000);
  assert.deepEqual(
    ['/0', '/1', '/2', '/new'].map((path) => lately.has(path, '1', 5000)),
    [true, false, true, true],
  );
});
