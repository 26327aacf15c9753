// Whose a temporary file is: somebody's who lives, in whatever container, or nobody's.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isLeft, isSomebodys, OWN, tempName } from '../../../lib/store/folder/writer.ts';
import { defer } from '../../fixtures/defer.ts';
import { until } from '../../fixtures/patience.ts';
import { projectRoot } from '../../fixtures/project.ts';
import { HEX, other, setUp } from '../../fixtures/writers.ts';

test('a process that lives has its files, and one that is gone has none', async (t) => {
  const { dir, tmp } = await setUp(t);
  for (const shows of [true, false]) {
    const { kill, name } = await other(t, dir, shows);
    for (const sole of [true, false]) {
      assert.equal(await isSomebodys(tmp, name, sole), true);
      assert.equal(await isLeft(tmp, name, sole), false);
    }
    await kill();
    for (const sole of [true, false]) {
      assert.equal(await isSomebodys(tmp, name, sole), false);
      assert.equal(await isLeft(tmp, name, sole), true);
    }
  }
  for (const name of await readdir(tmp)) assert.equal(await isSomebodys(tmp, name, false), false, name);
});

test('a socket on which nobody listens yet is left alone for a minute, unless its process is seen to be gone', async (t) => {
  const { dir, tmp } = await setUp(t);
  const far = `1.1.${'0'.repeat(12)}.sock.new`;
  await writeFile(join(tmp, far), '');
  assert.equal(await isSomebodys(tmp, far, true), true);
  const long = new Date(Date.now() - 120_000);
  await utimes(join(tmp, far), long, long);
  assert.equal(await isSomebodys(tmp, far, true), false);
  const { kill, name } = await other(t, dir, false);
  const near = `${name}.sock.new`;
  await writeFile(join(tmp, near), '');
  assert.equal(await isSomebodys(tmp, near, true), true);
  await kill();
  assert.equal(await isSomebodys(tmp, near, true), false);
});

test('another program that has got the number has not got the files', async (t) => {
  const { dir, tmp } = await setUp(t);
  const { name } = await other(t, dir, false);
  const later = name.replace(/^(\d+\.)(\d+)/, (_, pid, start) => `${pid}${Number(start) - 100}`);
  assert.notEqual(later, name);
  assert.equal(await isSomebodys(tmp, later, true), false);
});

test('a zombie has none', async (t) => {
  const { dir, tmp } = await setUp(t);
  const script = `
    import { spawn } from 'node:child_process';
    const code = "import { OWN } from '${projectRoot}/dist/lib/store/folder/writer.js'; console.log(OWN)";
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'inherit', 'inherit'] });
    // Nobody learns of its end.
    while (true) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  defer(t, () => parent.kill('SIGKILL'));
  const [said] = await once(parent.stdout, 'data');
  const name = `${String(said).trim()}-${HEX}`;
  const number = /^\d+/.exec(name)?.[0] ?? '';
  await until(async () => !(await isSomebodys(tmp, name, false)), 'it to be one');
  assert.doesNotThrow(() => process.kill(Number(number), 0), 'its number is taken');
  await writeFile(join(tmp, `${number}-${HEX}`), '');
  assert.equal(await isSomebodys(tmp, `${number}-${HEX}`, false), false, 'of an earlier version');
  assert.equal(dir, join(tmp, '..'));
});

test('of an earlier version, which knew the number alone, a file is of the process that has it open', async (t) => {
  const { tmp } = await setUp(t);
  const code = `
    const { openSync } = require('node:fs');
    openSync(process.argv[1] + '/' + process.pid + '-${HEX}', 'wx');
    console.log(process.pid);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['-e', code, tmp], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  defer(t, () => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const name = `${child.pid}-${HEX}`;
  const unopened = `${child.pid}-${HEX.replace('ab', 'cd')}`;
  await (await open(join(tmp, unopened), 'wx')).close();
  assert.deepEqual(
    [await isSomebodys(tmp, name, true), await isSomebodys(tmp, unopened, true)],
    [true, false],
  );
  child.kill('SIGKILL');
  await ended;
  assert.equal(await isSomebodys(tmp, name, true), false);
});

test("what is our own, or tells of no process, is nobody's when a service starts, and not left afterwards", async (t) => {
  const { tmp } = await setUp(t);
  const names = [`${OWN}-${HEX}`, 'probe', '0-left', '-1-left', '672ce8997c9d838d15aa8bb8'];
  for (const name of names) {
    assert.equal(await isSomebodys(tmp, name, true), false, name);
    assert.equal(await isLeft(tmp, name, true), false, name);
  }
});

test('each temporary file has a name of its own, which tells whose it is', () => {
  const names = Array.from({ length: 100 }, () => tempName());
  assert.equal(new Set(names).size, 100);
  for (const name of names) assert.ok(name.startsWith(`${OWN}-`) && /^[\w.-]+$/.test(name), name);
});
