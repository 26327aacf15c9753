import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { isOfAnother, tempName } from '../../lib/store/temp-name.ts';
import { defer } from '../fixtures/defer.ts';

test('a name is of another process as long as that runs; none of this one, and none that tells no process', async (t) => {
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  defer(t, () => other.kill('SIGKILL'));
  const names = tempName();
  const theirs = names.replace(`${process.pid}`, `${other.pid}`);
  assert.notEqual(names, tempName());
  assert.equal(isOfAnother(names), false);
  assert.equal(isOfAnother(theirs), true);
  for (const name of ['probe', '0-left', '-1-left', '672ce8997c9d838d15aa8bb8', '99999999-none']) {
    assert.equal(isOfAnother(name), false, name);
  }
  other.kill('SIGKILL');
  await once(other, 'exit');
  assert.equal(isOfAnother(theirs), false);
});
