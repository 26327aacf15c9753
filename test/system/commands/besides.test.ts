// What a cache has of a path besides its narinfo and NAR goes out and comes in with it: listing, log, realisations, debug information.
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import {
  ALL,
  assertHas,
  DEBUG,
  filesIn,
  ID,
  LED,
  LISTING,
  LOG,
  pushed,
  TRACE,
  tool,
  UNRELATED,
} from '../../fixtures/besides.ts';
import { get, push, put } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { startService } from '../../fixtures/service.ts';

test('of a path all of it goes out, of others nothing; and all of it comes in', async (t) => {
  const from = await pushed(t);
  const stick = join(await temporaryFolder(t), 'stick');
  const { run } = await commandsOn(t, from.dir);
  const { code, stderr, stdout } = await run('export', stick, tool.storePath);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^exported 1 paths, .*; 5 listings, logs and the like\n$/);
  const expected = [...ALL.map(({ path }) => path), tool.narInfoPath, tool.narPath, '/nix-cache-info'];
  assert.deepEqual(await filesIn(stick), expected.sort());
  for (const { body, path } of ALL) assert.equal(await readFile(join(stick, path), 'utf8'), body, path);
  assert.match(
    (await run('export', stick, tool.storePath)).stdout,
    /^exported 0 paths, 0 B; 1 were there already\n$/,
  );

  for (const what of [[], [tool.storePath]]) {
    const to = await startService(t);
    const there = await commandsOn(t, to.dir);
    const imported = await there.run('import', stick, ...what);
    assert.deepEqual([imported.code, imported.stderr], [0, '']);
    assert.match(imported.stdout, /^imported 1 paths, .*; 5 listings, logs and the like\n$/);
    await assertHas(to, ALL);
    for (const { path } of ALL.slice(0, 2))
      assert.equal(JSON.parse(await head(to.dir, path)).origin, 'push', path);
    assert.equal((await there.run('import', stick, ...what)).code, 0);
  }
});

async function head(dir: string, path: string): Promise<string> {
  const text = await readFile(join(dir, idOf(path).slice(0, 2), idOf(path)), 'utf8');
  return text.slice(0, text.indexOf('\n'));
}

test('with everything goes what tells of no path, too', async (t) => {
  const from = await pushed(t);
  const stick = join(await temporaryFolder(t), 'stick');
  assert.equal((await (await commandsOn(t, from.dir)).run('export', stick)).code, 0);
  const to = await startService(t);
  const { code, stdout } = await (await commandsOn(t, to.dir)).run('import', stick);
  assert.equal(code, 0);
  assert.match(stdout, /; 7 listings, logs and the like\n$/);
  await assertHas(to, [...ALL, ...UNRELATED.slice(0, 2)]);
});

test('an index of debug information names the NAR by the name that it has where it comes to', async (t) => {
  const stick = await temporaryFolder(t, 'stick');
  const narInfo = tool.narInfo.replace(/^URL: .*$/m, 'URL: nar/opaque.nar.zst');
  for (const [path, body] of [
    [tool.narInfoPath, narInfo],
    ['/nar/opaque.nar.zst', tool.file],
    [`/debuginfo/${ID}`, JSON.stringify({ member: 'lib/debug/x', archive: '../nar/opaque.nar.zst' })],
  ] as const) {
    await mkdir(dirname(join(stick, path)), { recursive: true });
    await writeFile(join(stick, path), body);
  }
  const to = await startService(t);
  const { run } = await commandsOn(t, to.dir);
  const imported = await run('import', stick);
  assert.deepEqual([imported.code, imported.stderr], [0, '']);
  const archive = (text: string) => String(JSON.parse(text).archive);
  const named = archive((await get(to.url, DEBUG.path)).text);
  assert.ok((await get(to.url, named.replace('..', ''))).body.equals(tool.file), named);
  const back = join(await temporaryFolder(t), 'back');
  assert.equal((await run('export', back, tool.storePath)).code, 0);
  const exported = archive(await readFile(join(back, DEBUG.path), 'utf8'));
  assert.ok((await readFile(join(back, 'debuginfo', exported))).equals(tool.file), exported);
});

test('what is not what it should be is named, and a web page is nothing', async (t) => {
  const from = await pushed(t);
  const stick = join(await temporaryFolder(t), 'stick');
  assert.equal((await (await commandsOn(t, from.dir)).run('export', stick, tool.storePath)).code, 0);
  await writeFile(join(stick, LISTING.path), 'not JSON');
  await writeFile(join(stick, LOG.path), '<!DOCTYPE html><title>No log</title>');
  await writeFile(join(stick, TRACE.path), '');
  const to = await startService(t);
  const { code, stderr } = await (await commandsOn(t, to.dir)).run('import', stick);
  assert.equal(code, 3);
  assert.equal(stderr, `${LISTING.path}: it is not the JSON that it should be\n`);
  for (const { path } of [LISTING, LOG, TRACE]) assert.equal((await get(to.url, path)).status, 404, path);
  await assertHas(to, [LED, DEBUG]);
});

test('what was pushed stays, and a path of another content gets nothing of this one', async (t) => {
  const from = await pushed(t);
  const stick = join(await temporaryFolder(t), 'stick');
  assert.equal((await (await commandsOn(t, from.dir)).run('export', stick, tool.storePath)).code, 0);
  const to = await startService(t);
  const { run } = await commandsOn(t, to.dir);
  await put(to.url, LOG.path, Buffer.from('a better log'));
  assert.equal((await run('import', stick)).code, 0);
  await assertHas(to, [{ ...LOG, body: 'a better log' }, LISTING]);
  const second = await startService(t);
  await push(second.url, makePackage('tool-1.0-dev', { seed: 'again' }));
  assert.equal((await (await commandsOn(t, second.dir)).run('import', stick, tool.storePath)).code, 0);
  assert.equal((await get(second.url, LISTING.path)).status, 404);
});

test('of what the Go service left comes what narinfos lead to', async (t) => {
  const left = await temporaryFolder(t, 'go');
  for (const [path, body] of [
    [tool.narInfoPath, tool.narInfo],
    [tool.narPath, tool.file],
    [LISTING.path, LISTING.body],
    [LOG.path, LOG.body],
  ] as const)
    await writeFile(join(left, idOf(path)), body);
  const to = await startService(t);
  const { run } = await commandsOn(t, to.dir);
  const { code, stdout } = await run('import', '--from-go', left);
  assert.equal(code, 0);
  assert.match(stdout, /^took over 1 paths, .*; 2 listings, logs and the like\n$/);
  await assertHas(to, [LISTING, LOG]);
  await rm(left, { recursive: true });
});
