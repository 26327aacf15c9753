import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Lookups } from '../../lib/upstream/lookups.ts';
import { Resolver } from '../../lib/upstream/resolve.ts';
import { until } from '../fixtures/patience.ts';
import { output } from '../fixtures/run.ts';

/** Our processes that look up names. */
function helpers(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0)
    .filter((pid) => {
      try {
        const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
        return (
          Number(parent) === process.pid &&
          /lookup-process/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
        );
      } catch {
        return false;
      }
    });
}

test('names are looked up as the system has them, in a process of its own, which may come and go', async () => {
  const lookups = new Lookups();
  // Of another resolver each, which remembers nothing; a lookup alone would not keep this process from ending.
  const look = (host: string) =>
    new Resolver(lookups).addresses(host, { timeoutMs: 30_000, signal: new AbortController().signal });
  assert.ok((await look('localhost')).some(({ address }) => address === '127.0.0.1' || address === '::1'));
  const [helper] = helpers();
  assert.ok(helper !== undefined);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(helper, signal);
  assert.ok((await look('localhost')).length > 0);
  assert.deepEqual(helpers(), [helper]);
  process.kill(helper, 'SIGKILL');
  await until(() => helpers().length === 0, 'the process to end');
  assert.ok((await look('localhost')).length > 0);
});

test('the process keeps nobody from ending, and ends with whoever started it', async () => {
  const file = new URL('../../lib/upstream/resolve.js', import.meta.url);
  const program = `import { names } from ${JSON.stringify(file.href)};
    const signal = new AbortController().signal;
    await names.addresses('localhost', { timeoutMs: 30_000, signal }); console.log('done');`;
  const stdout = await output(process.execPath, ['--input-type=module', '-e', program]);
  assert.match(stdout, /done/);
});
