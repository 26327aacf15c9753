import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MAX_NARINFO_BYTES } from '../../lib/nix/narinfo.ts';
import { goNamesAt, readGoNarInfo } from '../../lib/store/go-files.ts';
import { idOf } from '../../lib/store/object-id.ts';
import { temporaryFolder } from '../fixtures/defer.ts';

test('what begins like a narinfo is one, up to the size that any may have', async (t) => {
  assert.equal(MAX_NARINFO_BYTES, 1 << 20);
  const folder = await temporaryFolder(t);
  const file = join(folder, 'file');
  const text = `StorePath: /nix/store/${'x'.repeat(MAX_NARINFO_BYTES)}`;
  await writeFile(file, text.slice(0, MAX_NARINFO_BYTES));
  assert.equal((await readGoNarInfo(file))?.length, MAX_NARINFO_BYTES);
  await writeFile(file, text.slice(0, MAX_NARINFO_BYTES + 1));
  assert.equal(await readGoNarInfo(file), undefined);
  await writeFile(file, `x${text.slice(0, 100)}`);
  assert.equal(await readGoNarInfo(file), undefined);
  assert.equal(await readGoNarInfo(folder), undefined, 'a folder');
  assert.equal(await readGoNarInfo(join(folder, 'none')), undefined);
});

test('a NAR lies under the name of its path, or of whatever else its narinfo says', () => {
  const named = (path: string) => idOf(path);
  assert.deepEqual(goNamesAt('nar/x.nar.xz'), [named('/nar/x.nar.xz'), named('/nar/x.nar.xz')]);
  assert.deepEqual(goNamesAt('nar/x.nar?hash=y'), [named('/nar/x.nar'), named('/nar/x.nar?hash=y')]);
  const far = 'https://cache.example/nar/x.nar';
  assert.deepEqual(goNamesAt(far), [named('/nar/x.nar'), named(`/${far}`)]);
});
