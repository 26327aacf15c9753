import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MAX_NARINFO_BYTES } from '../../../lib/nix/narinfo.ts';
import { readFlatNarInfo } from '../../../lib/store/folder/flat-files.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';

test('what begins like a narinfo is one, up to the size that any may have', async (t) => {
  assert.equal(MAX_NARINFO_BYTES, 1 << 20);
  const folder = await temporaryFolder(t);
  const file = join(folder, 'file');
  const text = `StorePath: /nix/store/${'x'.repeat(MAX_NARINFO_BYTES)}`;
  await writeFile(file, text.slice(0, MAX_NARINFO_BYTES));
  assert.equal((await readFlatNarInfo(file))?.length, MAX_NARINFO_BYTES);
  await writeFile(file, text.slice(0, MAX_NARINFO_BYTES + 1));
  assert.equal(await readFlatNarInfo(file), undefined);
  await writeFile(file, `x${text.slice(0, 100)}`);
  assert.equal(await readFlatNarInfo(file), undefined);
  assert.equal(await readFlatNarInfo(folder), undefined, 'a folder');
  assert.equal(await readFlatNarInfo(join(folder, 'none')), undefined);
});
