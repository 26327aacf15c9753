// `npm run build` in a checkout whose service runs: nothing that runs misses a file, and nothing old stays.
import assert from 'node:assert/strict';
import { appendFile, cp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { push } from '../../fixtures/client.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { projectRoot } from '../../fixtures/project.ts';
import { type Outcome, run } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';

/** A checkout without the tests. */
async function checkout(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t, 'checkout');
  for (const name of ['bin', 'lib', 'scripts', 'package.json', 'tsconfig.json'])
    await cp(join(projectRoot, name), join(folder, name), { recursive: true });
  await symlink(join(projectRoot, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

function build(folder: string): Promise<Outcome> {
  return run(process.execPath, [join(folder, 'scripts/build.js')]);
}

test('a service collects while and after its checkout is built anew; what has no source any more goes', async (t) => {
  const folder = await checkout(t);
  const [thread, other] = ['scan-thread', 'nix-binary-cache'].map((name) => join(folder, 'dist/bin', name));
  const extra = join(folder, 'lib/extra/extra.ts');
  await cp(join(folder, 'lib/url.ts'), extra);
  const first = await build(folder);
  assert.equal(first.code, 0, first.stdout);
  await stat(join(folder, 'dist/lib/extra/extra.js'));
  // The program is one file, and each of its threads.
  assert.deepEqual((await readdir(join(folder, 'dist/bin'))).sort(), [
    'commit-thread.js',
    'nix-binary-cache.js',
    'scan-thread.js',
  ]);
  assert.doesNotMatch(await readFile(join(folder, 'dist/bin/nix-binary-cache.js'), 'utf8'), /from '\.\.?\//);

  const service = await startService(t, {
    program: join(folder, 'dist/bin/nix-binary-cache.js'),
    config: 'upstreams = []\n[gc]\nmax_size = "1 B"\nmin_free = "0 B"\n',
  });
  await service.logged(/holding 0 objects/);
  await rm(join(folder, 'lib/extra'), { recursive: true });
  await appendFile(join(folder, 'lib/store/folder/hot-reads.ts'), '// A change.\n');
  const before = await stat(`${thread}.js`);
  let ended = false;
  const second = build(folder).finally(() => {
    ended = true;
  });
  let looks = 0;
  for (; !ended; looks++) for (const file of [thread, other]) await stat(`${file}.js`);
  assert.equal((await second).code, 0, (await second).stdout);
  assert.ok(looks > 10, `${looks} looks`);
  assert.equal((await stat(`${thread}.js`)).ino, before.ino, 'what is as it was is not touched');
  await assert.rejects(stat(join(folder, 'dist/lib/extra')), { code: 'ENOENT' });

  await push(service.url, makePackage('one', { size: 10_000 }));
  assert.match(await service.logged(/collection/), /collection: removed 0 objects/);
});

test('a build that fails changes nothing, and leaves nothing', async (t) => {
  const folder = await checkout(t);
  assert.equal((await build(folder)).code, 0);
  const names = async () =>
    [...(await readdir(folder)), ...(await readdir(join(folder, 'dist'), { recursive: true }))].sort();
  const before = await names();
  const program = await stat(join(folder, 'dist/bin/nix-binary-cache.js'));
  await writeFile(join(folder, 'bin/nix-binary-cache.ts'), 'const x: number = "no number";\n');
  const { code, stdout } = await build(folder);
  assert.notEqual(code, 0);
  assert.match(stdout, /nix-binary-cache\.ts/);
  assert.deepEqual(await names(), before);
  assert.equal((await stat(join(folder, 'dist/bin/nix-binary-cache.js'))).ino, program.ino);
});
