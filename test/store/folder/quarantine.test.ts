import assert from 'node:assert/strict';
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { writing } from '../../../lib/disk/writing.ts';
import { logSink } from '../../../lib/event-log.ts';
import { versionOf } from '../../../lib/store/folder/files.ts';
import { dropQuarantined, quarantine } from '../../../lib/store/folder/quarantine.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';

const PATH = '/nar/x.nar';

async function setUp(t: Owner) {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'object');
  await writeFile(file, 'damaged');
  const version = versionOf(await stat(file));
  const said: string[] = [];
  const say = (line: string) => void said.push(line);
  const emit = logSink({ info: () => {}, warn: say, error: say });
  const aside = () => quarantine(folder, PATH, file, version, 'a reason', emit);
  return { aside, file, folder, said };
}

test('it is moved, with the path and the reason beside it and a word in the log', async (t) => {
  const { aside, file, folder, said } = await setUp(t);
  assert.equal(await aside(), 7);
  const [moved = '', reason = ''] = (await readdir(join(folder, 'quarantine'))).sort();
  assert.match(moved, /^object-\d+$/);
  assert.equal(reason, `${moved}.reason`);
  assert.equal(await readFile(join(folder, 'quarantine', moved), 'utf8'), 'damaged');
  assert.equal(await readFile(join(folder, 'quarantine', reason), 'utf8'), `${PATH}\na reason\n`);
  assert.deepEqual(said, [`${PATH} is damaged (a reason); moved to ${join(folder, 'quarantine', moved)}`]);
  assert.equal(await aside(), undefined, `${file} is gone`);
});

test('what has been replaced since is not what was damaged, and stays', async (t) => {
  const { aside, file, folder, said } = await setUp(t);
  await writeFile(join(folder, 'new'), 'correct');
  await rename(join(folder, 'new'), file);
  assert.equal(await aside(), undefined);
  assert.equal(await readFile(file, 'utf8'), 'correct');
  assert.deepEqual([await readdir(folder), said], [['object'], []]);
});

test('nor is what replaces it, or takes it away, while the disk has others to serve first', async (t) => {
  for (const replace of [true, false]) {
    const { aside, file, folder, said } = await setUp(t);
    let goOn = () => {};
    const busy = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const others = Array.from({ length: 8 }, () => writing(() => busy));
    const moving = aside();
    await delay(100);
    if (replace) {
      await writeFile(join(folder, 'new'), 'correct');
      await rename(join(folder, 'new'), file);
    } else await rm(file);
    goOn();
    await Promise.all(others);
    assert.equal(await moving, undefined);
    assert.deepEqual(await readdir(folder), replace ? ['object', 'quarantine'] : ['quarantine']);
    assert.deepEqual([await readdir(join(folder, 'quarantine')), said], [[], []]);
    if (replace) assert.equal(await readFile(file, 'utf8'), 'correct');
  }
});

test('what can not be moved is deleted, so that a good one may come', async (t) => {
  const { aside, folder, said } = await setUp(t);
  await writeFile(join(folder, 'quarantine'), 'in the way');
  assert.equal(await aside(), 7);
  assert.deepEqual(await readdir(folder), ['quarantine']);
  assert.match(said.join('\n'), /^\/nar\/x\.nar is damaged \(a reason\); deleted, as it can't be moved to /);
});

test('all that was set aside of an object can be dropped', async (t) => {
  const { aside, folder } = await setUp(t);
  await dropQuarantined(folder, 'object');
  await aside();
  await writeFile(join(folder, 'quarantine', 'objects-1'), 'another');
  await dropQuarantined(folder, 'object');
  assert.deepEqual(await readdir(join(folder, 'quarantine')), ['objects-1']);
});
