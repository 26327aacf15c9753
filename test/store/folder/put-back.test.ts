import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { assertPutsBack } from '../../fixtures/puts-back.ts';

test('what was moved aside goes back, unless another one has come', async (t) => {
  await assertPutsBack(join(await temporaryFolder(t), 'folder'));
});
