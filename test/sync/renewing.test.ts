// What is asked for often is looked at again in good time, a few at once, and each once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDue, Renewing } from '../../lib/sync/renewing.ts';
import { until } from '../fixtures/patience.ts';

test('a look comes in the last part of the time, once for all who ask, and again when it has ended', async () => {
  const looks: { readonly name: string; readonly end: () => void }[] = [];
  const renewing = new Renewing((name) => new Promise<void>((resolve) => looks.push({ name, end: resolve })));
  const asked = () => looks.map(({ name }) => name);
  assert.deepEqual(
    [600, 800].map((age) => isDue(age, 1000)),
    [false, true],
  );
  for (let i = 0; i < 3; i++) renewing.asked('old');
  await until(() => looks.length > 0, 'a look');
  renewing.asked('old');
  renewing.asked('other');
  await until(() => looks.length > 1, 'another look');
  assert.deepEqual(asked(), ['old', 'other']);
  looks[0]?.end();
  await new Promise(setImmediate);
  renewing.asked('old');
  await until(() => looks.length > 2, 'a second look');
  assert.deepEqual(asked(), ['old', 'other', 'old']);
});

test('however many are due, few are looked at at once, and one that fails holds up nobody', async () => {
  let most = 0;
  let now = 0;
  const seen = new Set<string>();
  const renewing = new Renewing(async (name) => {
    now++;
    most = Math.max(most, now);
    await new Promise(setImmediate);
    now--;
    seen.add(name);
    if (name === '7') throw new Error('the disk');
  });
  for (let i = 0; i < 50; i++) renewing.asked(`${i}`);
  await until(() => seen.size === 50, 'all of them');
  assert.ok(most <= 3, `${most} at once`);
});
