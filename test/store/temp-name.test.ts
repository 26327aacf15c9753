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

test('a process of somebody else runs, though nobody may signal it; whatever else is wrong, it does not', (t) => {
  for (const [code, expected] of [
    ['EPERM', true],
    ['ESRCH', false],
  ] as const) {
    const kill = t.mock.method(process, 'kill', () => {
      throw Object.assign(new Error(code), { code });
    });
    assert.equal(isOfAnother(`${process.pid + 1}-x`), expected, code);
    assert.deepEqual(kill.mock.calls[0]?.arguments, [process.pid + 1, 0]);
    kill.mock.restore();
  }
});
