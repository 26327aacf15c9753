// The end in a hurry, in processes of their own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { test } from 'node:test';
import { defer, type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { output } from '../fixtures/run.ts';

const module = new URL(`../../lib/commands/exit${extname(import.meta.filename)}`, import.meta.url).href;

async function endOf(t: Owner, script: string): Promise<{ code: number | null; signal: string | null }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  defer(t, () => child.kill('SIGKILL'));
  const [code, signal] = await once(child, 'exit');
  return { code, signal };
}

const LATER = `import { exitNow } from ${JSON.stringify(module)}; setInterval(() => {}, 1000);`;

test('the process ends with the code, whatever else it waits for', async (t) => {
  assert.deepEqual(await endOf(t, `${LATER} await exitNow(7);`), { code: 7, signal: null });
});

test('it waits for a disk that still answers', async (t) => {
  const pipe = join(await temporaryFolder(t), 'pipe');
  await output('mkfifo', [pipe]);
  // The pipe can be opened for reading once somebody opens it for writing: a call of the disk that lasts until then.
  const script = `${LATER}
    import fs from 'node:fs';
    fs.open(${JSON.stringify(pipe)}, 'r', () => {});
    setTimeout(() => fs.open(${JSON.stringify(pipe)}, 'w', () => {}), 300);
    await exitNow(7);`;
  assert.deepEqual(await endOf(t, script), { code: 7, signal: null });
});

test('a disk that hangs does not hold it up for long: nothing but a signal ends it', async (t) => {
  const pipe = join(await temporaryFolder(t), 'pipe');
  await output('mkfifo', [pipe]);
  for (const open of ['fs.open(pipe, "r", () => {})', 'fs.promises.open(pipe, "r")']) {
    const script = `${LATER} import fs from 'node:fs'; const pipe = ${JSON.stringify(pipe)}; ${open}; await exitNow(7);`;
    assert.deepEqual(await endOf(t, script), { code: null, signal: 'SIGKILL' }, open);
  }
});

test('a file that is being closed is the disk at work too', async () => {
  // With the one thread busy otherwise, the file is closed only after that: not for long, or a busy machine is a disk that hangs.
  const script = `${LATER}
    import fs from 'node:fs';
    import { pbkdf2 } from 'node:crypto';
    const file = await fs.promises.open(${JSON.stringify(process.execPath)});
    await new Promise((resolve) => setTimeout(resolve, 10));
    let closed = false;
    process.once('exit', () => fs.writeSync(1, closed ? 'closed' : 'not closed'));
    pbkdf2('a', 'b', 10_000, 64, 'sha512', () => {});
    file.close().then(() => { closed = true; });
    await exitNow(0);`;
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' };
  assert.equal(await output(process.execPath, ['--input-type=module', '-e', script], { env }), 'closed');
});
