import assert from 'node:assert/strict';
import { mkdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { IfAny } from '../../../lib/store/folder/if-any.ts';
import type { Lower } from '../../../lib/store/folder/overlay.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';
import { until } from '../../fixtures/patience.ts';

const FILE = idOf('/log/x.drv');
const SEEN = { version: '1', freshForMs: 1000, used: () => {} };

async function setUp(t: Owner) {
  const folder = await temporaryFolder(t);
  const asked: string[] = [];
  const clock = { ms: 0 };
  const store = {
    open: async (path: string) => void asked.push(`open ${path}`),
    version: async (path: string) => {
      asked.push(`version ${path}`);
      return SEEN;
    },
    versionNow: () => SEEN,
  } as unknown as Lower;
  const ifAny = new IfAny(store, { folder, freshForMs: 1000, now: () => clock.ms });
  // As if nothing had happened in it for a while.
  const age = () => utimes(folder, 1000, 1000);
  return { age, asked, clock, folder, ifAny };
}

test('what can be told at once is what was seen a moment ago', async (t) => {
  const { age, clock, folder, ifAny } = await setUp(t);
  await age();
  assert.equal(ifAny.versionNow('/log/x.drv'), undefined, 'nobody has looked yet');
  await ifAny.version('/log/x.drv');
  assert.equal(ifAny.versionNow('/log/x.drv'), 'none');
  await writeFile(join(folder, FILE), '');
  assert.equal(ifAny.versionNow('/log/x.drv'), 'none');
  clock.ms += 1000;
  assert.equal(ifAny.versionNow('/log/x.drv'), undefined);
  await until(() => ifAny.versionNow('/log/x.drv') === SEEN, 'the look to be over');
});

test('nobody looks for a file where there is none', async (t) => {
  const { asked, folder, ifAny } = await setUp(t);
  await mkdir(join(folder, 'ab'));
  await writeFile(join(folder, 'push.netrc'), '');
  assert.equal(await ifAny.open('/a'), undefined);
  assert.equal(await ifAny.version('/a'), undefined);
  assert.deepEqual(asked, []);
});

test('files that are there are looked for, each time', async (t) => {
  const { asked, folder, ifAny } = await setUp(t);
  await writeFile(join(folder, FILE), '');
  await ifAny.open('/a');
  assert.equal(await ifAny.version('/b'), SEEN);
  assert.deepEqual(asked, ['open /a', 'version /b']);
});

test('a file that comes is found as soon as what was seen is no longer believed', async (t) => {
  const { age, asked, clock, folder, ifAny } = await setUp(t);
  await age();
  await ifAny.version('/a');
  await writeFile(join(folder, FILE), '');
  clock.ms = 999;
  await ifAny.version('/b');
  assert.deepEqual(asked, []);
  clock.ms = 1000;
  await ifAny.version('/c');
  assert.deepEqual(asked, ['version /c']);
});

test('a file that comes within a tick of a coarse clock is found too', async (t) => {
  const { asked, clock, folder, ifAny } = await setUp(t);
  const now = Date.now() / 1000;
  await utimes(folder, now, now);
  await ifAny.version('/a');
  await writeFile(join(folder, FILE), '');
  await utimes(folder, now, now);
  clock.ms = 1000;
  await ifAny.version('/b');
  assert.deepEqual(asked, ['version /b']);
});

test('once the last file has gone, nobody looks for it any more', async (t) => {
  const { age, asked, clock, folder, ifAny } = await setUp(t);
  await writeFile(join(folder, FILE), '');
  await ifAny.version('/a');
  await rm(join(folder, FILE));
  await age();
  clock.ms = 1000;
  await ifAny.version('/b');
  assert.deepEqual(asked, ['version /a']);
});

test('where the folder can not be read, whoever looks for a file is told so by the store', async (t) => {
  const { asked, folder, ifAny } = await setUp(t);
  await rm(folder, { recursive: true });
  await ifAny.open('/a');
  assert.deepEqual(asked, ['open /a']);
});
