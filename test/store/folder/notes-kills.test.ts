// The promise of the notes itself, with real processes that put, remove, learn and are killed: whatever names a NAR is noted, or the
// notes are not believed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openFolder } from '../../../lib/store/folder/folder.ts';
import { namersOf } from '../../../lib/store/folder/notes.ts';
import { idOf } from '../../../lib/store/object-id.ts';
import { defer, temporaryFolder } from '../../fixtures/defer.ts';
import { doubt, namesIn } from '../../fixtures/noting.ts';
import { NARS } from '../../fixtures/putter.ts';
import { randomSource } from '../../fixtures/random.ts';

const ROUNDS = 15;
const ROLES = ['service', 'command', 'command', 'learner'];

test('with services, commands and learners that are killed at any moment, what is believed lacks nothing', async (t) => {
  const dir = join(await temporaryFolder(t, 'kills'), 'cache');
  await mkdir(dir);
  const random = randomSource(13);
  const running = new Map<string, () => Promise<void>>();
  let begun = 0;
  const begin = async (name: string) => running.set(name, await start(t, dir, name, ++begun));
  const names = ROLES.map((role, i) => `${role} ${i}`);
  for (const name of names) await begin(name);
  const nars = NARS.map(({ narPath }) => idOf(narPath));
  const { upkeep } = openFolder(dir, () => {}, { many: 0 });
  let believed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await delay(20 * random());
    if (random() < 0.5) {
      const name = names[Math.floor(random() * names.length)] as string;
      await running.get(name)?.();
      await check();
      await begin(name);
    }
    if (random() < 0.3) await doubt(dir);
    const options = { storeDir: '/nix/store', lookingAtAll: () => {} };
    if (random() < 0.7) for await (const one of upkeep.namers(new Set(nars), options)) void one;
    await check();
  }
  for (const kill of running.values()) await kill();
  assert.ok(believed > 0, 'they were never believed');

  /** What was there before they are asked stands in them. */
  async function check(): Promise<void> {
    const there = namesIn(dir);
    for (const nar of nars) {
      const noted = await namersOf(dir, new Set([nar]));
      if (noted === undefined) continue;
      believed++;
      const lacking = there.filter((one) => one.nar === nar && !noted.has(one.namer));
      assert.deepEqual(lacking, []);
    }
  }
});

/** What kills it. */
async function start(t: TestContext, dir: string, name: string, seed: number): Promise<() => Promise<void>> {
  const file = fileURLToPath(new URL('../../fixtures/putter.js', import.meta.url));
  const [role = ''] = name.split(' ');
  const child: ChildProcess = spawn(process.execPath, [file, dir, role, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  defer(t, kill);
  const said = await Promise.race([once(child.stdout as NodeJS.ReadableStream, 'data'), ended]);
  assert.equal(String(said[0]), 'ready\n');
  return kill;
}
