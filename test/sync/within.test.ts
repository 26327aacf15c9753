import assert from 'node:assert/strict';
import { test } from 'node:test';
import { within } from '../../lib/sync/within.ts';

test('a wait ends with what is waited for, as it does, or after its time', async () => {
  await within(1_000_000, Promise.resolve('done'));
  await assert.rejects(within(1_000_000, Promise.reject(new Error('failed'))), /failed/);
  await within(1, new Promise(() => {}));
});
