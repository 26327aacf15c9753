import assert from 'node:assert/strict';
import { test } from 'node:test';
import { areOwnThreadsBusy, threadBegins } from '../../lib/sync/threads.ts';

test('threads are busy until each has ended what it began, however often it says so', () => {
  assert.equal(areOwnThreadsBusy(), false);
  const [one, other] = [threadBegins(), threadBegins()];
  one();
  one();
  assert.equal(areOwnThreadsBusy(), true);
  other();
  assert.equal(areOwnThreadsBusy(), false);
});
