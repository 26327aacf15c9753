import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatAge, formatBytes } from '../../lib/format.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { program } from '../fixtures/project.ts';
import { run } from '../fixtures/run.ts';
import { startService } from '../fixtures/service.ts';

const LOG = '/log/0123456789abcdfghijklmnpqrsvwxyz-hello.drv';

test('list shows what is stored, beside the running service, as a table and as JSON', async (t) => {
  const service = await startService(t);
  const put = await fetch(service.url + LOG, { method: 'PUT', body: 'built\n' });
  assert.equal(put.status, 200);
  const flat = createHash('sha256').update('/nar/x.nar').digest('hex');
  await writeFile(join(service.dir, flat), '123');
  const list = (...args: string[]) =>
    run(process.execPath, [program, 'list', '--cache-dir', service.dir, ...args]);
  const table = await list();
  assert.equal(table.code, 0);
  const lines = table.stdout.trimEnd().split('\n');
  assert.match(lines[0] ?? '', /SIZE +AGE +LAST USE +ORIGIN +PATH/);
  assert.match(lines[1] ?? '', new RegExp(`6 B +\\d+ s +\\d+ s +push +${LOG}$`));
  assert.match(lines[2] ?? '', /3 B +.*unknown +\(not recognised\)$/);
  const records = (await list('--json')).stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(records.length, 2);
  assert.deepEqual(
    { ...records[0], storedAt: 0, lastUse: 0 },
    {
      path: LOG,
      size: 6,
      storedAt: 0,
      lastUse: 0,
      origin: 'push',
      sha256: createHash('sha256').update('built\n').digest('hex'),
      narHash: null,
    },
  );
  assert.equal(records[1].path, null);
});

test('list of a folder that is not there is one line and exit 1', async (t) => {
  const folder = join(await temporaryFolder(t), 'missing');
  const { code, stdout, stderr } = await run(process.execPath, [program, 'list', '--cache-dir', folder]);
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /^nix-binary-cache: can't read the cache folder .*missing.*\n$/);
});

test('sizes and ages are written for people', () => {
  assert.deepEqual([0, 999, 1000, 1536, 1024 ** 2 * 100, 1024 ** 3 * 2.5].map(formatBytes), [
    ...['0 B', '999 B', '1.0 KiB', '1.5 KiB', '100 MiB', '2.5 GiB'],
  ]);
  assert.deepEqual([0, 59_000, 60_000, 3_600_000, 86_400_000 * 40].map(formatAge), [
    '0 s',
    '59 s',
    '1 min',
    '1 h',
    '40 d',
  ]);
});
