// What holds a secret and is made by a command: on a full disk, and by root.
import assert from 'node:assert/strict';
import { chown, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { makePushNetrc, pushNetrcIn } from '../../../lib/store/folder/push-netrc.ts';
import { defer, temporaryFolder } from '../../fixtures/defer.ts';
import { program } from '../../fixtures/project.ts';
import { output, run } from '../../fixtures/run.ts';
import { needRoot } from '../fixtures/need-root.ts';

test('push.netrc, made by root, belongs to whom the folder belongs', { skip: needRoot() }, async (t) => {
  const folder = await temporaryFolder(t);
  await chown(folder, 1234, 2345);
  await makePushNetrc(folder, undefined);
  const { uid, gid, mode } = await stat(pushNetrcIn(folder));
  assert.deepEqual({ uid, gid, mode: mode & 0o7777 }, { uid: 1234, gid: 2345, mode: 0o600 });
});

test('keygen on a full disk → exit 1, and no half of a key is left', {
  skip: needRoot('mount'),
}, async (t) => {
  for (const room of [0, 1]) {
    const disk = join(await temporaryFolder(t), 'disk');
    await mkdir(disk);
    await output('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk]);
    defer(t, () => output('umount', [disk]));
    await writeFile(join(disk, 'big'), Buffer.alloc((4 - room) * 4096));
    const { code, stderr } = await run(process.execPath, [program, 'keygen', 'key-1'], { cwd: disk });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /can't write .*ENOSPC/);
    assert.deepEqual(await readdir(disk), ['big']);
  }
});
