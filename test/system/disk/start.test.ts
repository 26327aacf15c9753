// A start on a disk that takes no writes: what it holds is served, and when it takes them again nothing else need be done.
import assert from 'node:assert/strict';
import { chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isStored } from '../../fixtures/aged.ts';
import { get, push, put } from '../../fixtures/client.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { program } from '../../fixtures/project.ts';
import { output, run } from '../../fixtures/run.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { needRoot } from '../fixtures/need-root.ts';

const MIB = 2 ** 20;
const held = makePackage('held', { size: 100_000 });
const passing = makePackage('passing', { size: 200_000 });
const pushed = makePackage('pushed', { size: 50_000 });

/** A filesystem of 8 MiB with a cache in it that has been used. */
async function usedDisk(t: Owner): Promise<{ mounted: string; dir: string }> {
  const mounted = join(await temporaryFolder(t, 'disk'), 'disk');
  await mkdir(mounted);
  await output('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mounted]);
  defer(t, () => output('umount', [mounted]));
  const dir = join(mounted, 'cache');
  const service = await startService(t, { dir });
  await push(service.url, held);
  await service.stop();
  await writeFile(join(dir, 'tmp', 'left'), 'half of something');
  return { mounted, dir };
}

async function pull(url: string, one: Package): Promise<void> {
  const narInfo = await get(url, one.narInfoPath);
  assert.equal(narInfo.status, 200);
  const reply = await get(url, `/${field(narInfo.text, 'URL')}`);
  assert.ok(reply.complete && reply.body.equals(one.file));
}

/** Hits, misses and uploads while the disk takes nothing. */
async function useWithoutWrites(service: Service): Promise<void> {
  await pull(service.url, held);
  await pull(service.url, passing);
  const refused = await put(service.url, pushed.narPath, pushed.file, { expect: '100-continue' });
  assert.equal(refused.status, 507);
  assert.equal((await service.wholeLog()).match(/ warn the cache folder .* takes no writes now/g)?.length, 1);
}

async function useAgain(service: Service): Promise<void> {
  await push(service.url, pushed);
  await pull(service.url, pushed);
  await pull(service.url, passing);
  await until(() => isStored(service.dir, passing.narPath), 'what is fetched to be kept');
  await service.logged(/ info the cache folder .* takes writes again/);
  // What was just kept has a second name there for a moment.
  await until(
    async () => (await readdir(join(service.dir, 'tmp'))).length === 0,
    'what a stop had left to go',
  );
}

async function config(t: Parameters<typeof startUpstream>[0]): Promise<string> {
  const upstream = await startUpstream(t);
  upstream.on(passing.narInfoPath, whole(passing.narInfo));
  upstream.on(passing.narPath, whole(passing.file));
  return `[[upstreams]]\nurl = "${upstream.url}"\n[gc]\nmin_free = "1 B"\n`;
}

test('on a disk mounted read-only', { skip: needRoot('mount') }, async (t) => {
  const { dir, mounted } = await usedDisk(t);
  await output('mount', ['-o', 'remount,ro', mounted]);
  const service = await startService(t, { dir, config: await config(t) });
  await useWithoutWrites(service);
  await service.logged(/takes no writes now \(.*EROFS/);
  await output('mount', ['-o', 'remount,rw', mounted]);
  await useAgain(service);
  assert.equal(await service.stop(), 0);
});

test('on a full disk', { skip: needRoot('mount') }, async (t) => {
  const { dir, mounted } = await usedDisk(t);
  const filler = join(mounted, 'filler');
  await rm(join(dir, 'tmp'), { recursive: true });
  await writeFile(filler, Buffer.alloc(8 * MIB)).catch(() => {});
  const service = await startService(t, { dir, config: await config(t) });
  await useWithoutWrites(service);
  await service.logged(/takes no writes now \(the disk is full\)/);
  await rm(filler);
  await useAgain(service);
  assert.equal(await service.stop(), 0);
});

test('a disk full of what was left half-written is a disk with room', {
  skip: needRoot('mount'),
}, async (t) => {
  const { dir } = await usedDisk(t);
  await writeFile(join(dir, 'tmp', 'large'), Buffer.alloc(8 * MIB)).catch(() => {});
  const service = await startService(t, { dir });
  await push(service.url, pushed);
  assert.doesNotMatch(await service.wholeLog(), /warn/);
  assert.equal(await service.stop(), 0);
});

test('on a read-only disk with a folder that no service has used', { skip: needRoot('mount') }, async (t) => {
  const { dir, mounted } = await usedDisk(t);
  await rm(join(dir, 'tmp'), { recursive: true });
  await output('mount', ['-o', 'remount,ro', mounted]);
  const service = await startService(t, { dir, config: await config(t) });
  await useWithoutWrites(service);
  await service.stop();
});

test('a folder that is not there can not be made on such a disk: one line and exit 1', {
  skip: needRoot('mount'),
}, async (t) => {
  const { mounted } = await usedDisk(t);
  await output('mount', ['-o', 'remount,ro', mounted]);
  const outcome = await start(join(mounted, 'other'));
  assert.equal(outcome.code, 1);
  assert.match(outcome.stderr, /^nix-binary-cache: can't use the cache folder .*: EROFS.*\n$/);
});

test('a folder of somebody else is one line that says what to do, and exit 1', {
  skip: needRoot('setpriv'),
}, async (t) => {
  const home = await temporaryFolder(t, 'owner');
  await chown(home, 65_534, 65_534);
  const dir = join(home, 'cache');
  const service = await startService(t, { dir });
  await push(service.url, held);
  await service.stop();
  const outcome = await start(dir, 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups');
  assert.equal(outcome.code, 1);
  assert.match(outcome.stderr, /^nix-binary-cache: can't use the cache folder .*EACCES.*\n$/);
  assert.ok(outcome.stderr.includes(`: chown -R 65534:65534 ${dir}\n`), outcome.stderr);
});

function start(dir: string, ...before: string[]): ReturnType<typeof run> {
  const [command = '', ...args] = [...before, process.execPath, program];
  return run(command, [...args, '--listen', '127.0.0.1:0', '--cache-dir', dir], { cwd: '/' });
}
