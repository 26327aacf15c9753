import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReadLately } from '../../../lib/store/folder/object-files.ts';

const DAY_MS = 24 * 3_600_000;

test('what was right is believed for a day, as long as it is the same file', (t) => {
  let now = 7;
  t.mock.method(performance, 'now', () => now);
  const lately = new ReadLately();
  assert.equal(lately.has('/a', '1'), false);
  lately.add('/a', '1');
  now += DAY_MS - 1;
  assert.deepEqual(
    [lately.has('/a', '1'), lately.has('/a', '2'), lately.has('/b', '1')],
    [true, false, false],
  );
  now += 1;
  assert.equal(lately.has('/a', '1'), false);
});

test('twenty thousand are remembered, those that were read last', () => {
  const lately = new ReadLately();
  for (let i = 0; i < 20_000; i++) lately.add(`/${i}`, '1');
  lately.add('/0', '1');
  lately.add('/new', '1');
  assert.deepEqual(
    ['/0', '/1', '/2', '/new'].map((path) => lately.has(path, '1')),
    [true, false, true, true],
  );
});
