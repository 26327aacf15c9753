// Commands run by root beside a service of another user, and a service that root has started in a folder of somebody else: what they
// write is the folder's owner's, who goes on.
import assert from 'node:assert/strict';
import { chmod, chown, lstat, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileOf } from '../../fixtures/aged.ts';
import { push } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { noted, seemLarge } from '../../fixtures/noting.ts';
import { program } from '../../fixtures/project.ts';
import { output, run } from '../../fixtures/run.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { writeCache } from '../../fixtures/static-cache.ts';
import { needRoot } from '../fixtures/need-root.ts';

const NOBODY = 65_534;

async function strangers(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true });
  const all = await Promise.all(
    ['', ...names].map(async (name) => {
      const { uid, gid } = await lstat(join(dir, name)).catch(() => ({ uid: NOBODY, gid: NOBODY }));
      return uid === NOBODY && gid === NOBODY ? [] : [`${name} ${uid}:${gid}`];
    }),
  );
  return all.flat();
}

/** A home of that user's, and the way to run Node as that. */
async function setUp(t: TestContext): Promise<{ home: string; dir: string; node: string }> {
  const home = await temporaryFolder(t, 'owner');
  const dir = join(home, 'cache');
  await mkdir(dir);
  for (const one of [home, dir]) await chown(one, NOBODY, NOBODY);
  const node = join(home, 'node');
  const user = `--reuid=${NOBODY} --regid=${NOBODY} --clear-groups`;
  await writeFile(node, `#!/bin/sh\nexec setpriv ${user} '${process.execPath}' "$@"\n`);
  await chmod(node, 0o755);
  return { home, dir, node };
}

/** Two whose objects lie in the same folders as nothing that was there before. */
async function pushAll(service: Service, ...names: string[]): Promise<void> {
  for (const name of names) await push(service.url, makePackage(name, { size: 20_000 }));
}

test('commands of root beside a service of another user leave nothing that this can not change', {
  skip: needRoot('setpriv'),
}, async (t) => {
  const { home, dir, node } = await setUp(t);
  const config = '[gc]\nmin_free = "0 B"\nkeep_pushed = false\nmax_age = "1h"\n';
  const service = await startService(t, { dir, home, node, config: `upstreams = []\n${config}` });
  const make = (name: string) => makePackage(name, { size: 30_000 });
  const [kept, gone, damaged, brought] = [make('kept'), make('gone'), make('damaged'), make('brought')];
  for (const one of [kept, gone, damaged]) await push(service.url, one);
  await writeFile(fileOf(dir, damaged.narPath), 'no more what it was');
  const stick = await temporaryFolder(t, 'stick');
  await writeCache(stick, [brought]);
  const root = await commandsOn(t, dir, `upstreams = []\n${config}`);
  for (const [code, ...args] of [
    [0, 'import', stick],
    [0, 'pin', kept.storePath],
    [0, 'gc'],
    [3, 'verify', '--repair'],
    [0, 'rm', gone.storePath],
    [0, 'unpin', kept.storePath],
    [0, 'pin', brought.storePath],
  ] as const) {
    const { code: found, stderr } = await root.run(...args);
    assert.equal(found, code, `${args}: ${stderr}`);
    assert.deepEqual(await strangers(dir), [], `after ${args}`);
  }
  const names = await readdir(dir);
  for (const name of ['pins', 'quarantine', 'trash', 'tmp', 'changed', idOf(brought.narPath).slice(0, 2)])
    assert.ok(names.includes(name), `${name} is there`);
  await push(service.url, gone);
  await pushAll(service, ...Array.from({ length: 20 }, (_, i) => `more-${i}`));
  assert.doesNotMatch(await service.wholeLog(), / error | warn .*(?:EACCES|EPERM)/);
  for (const args of [['rm', brought.storePath], ['unpin', brought.storePath], ['gc'], ['verify']]) {
    const options = ['--config', join(home, 'config.toml'), '--cache-dir', dir];
    const { code, stderr } = await run(node, [program, ...args, ...options], { cwd: home });
    assert.equal(code, 0, `${args}: ${stderr}`);
  }
  assert.equal(await service.stop(), 0);
});

test('what root has learned of a large folder, the service of another user goes on with', {
  skip: needRoot('setpriv'),
}, async (t) => {
  const { home, dir, node } = await setUp(t);
  const service = await startService(t, { dir, home, node, config: 'upstreams = []\n' });
  const [one, same] = [makePackage('one'), makePackage('same', { seed: 'one' })];
  await push(service.url, one);
  await seemLarge(dir);
  await output('chown', ['-R', `${NOBODY}:${NOBODY}`, dir]);
  const root = await commandsOn(t, dir, 'upstreams = []\n');
  assert.equal((await root.run('gc')).code, 0);
  assert.deepEqual(await strangers(dir), []);
  await push(service.url, same);
  const ids = [one, same].map(({ narInfoPath }) => idOf(narInfoPath));
  assert.deepEqual(await noted(dir, idOf(one.narPath)), ids.sort());
});

test('a service of root in a folder of somebody else leaves it to that', {
  skip: needRoot('setpriv'),
}, async (t) => {
  const { home, dir, node } = await setUp(t);
  const config = 'upstreams = []\nscrub = "1h"\n';
  const first = await startService(t, { dir, home, config });
  await pushAll(first, 'a', 'b', 'c');
  assert.deepEqual(await strangers(dir), []);
  assert.equal(await first.stop(), 0);
  assert.deepEqual(await strangers(dir), []);
  const second = await startService(t, { dir, home, node, config });
  await pushAll(second, 'd', ...Array.from({ length: 10 }, (_, i) => `more-${i}`));
  assert.equal(await second.stop(), 0);
});
