// gc, pin, unpin, pins and rm, by the built program beside a running service.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { rm } from '../../../lib/commands/rm.ts';
import { parseConfig } from '../../../lib/config/config.ts';
import { createLog } from '../../../lib/log.ts';
import { fetched, fileOf, isStored, pushed } from '../../fixtures/aged.ts';
import { get, head, push, put } from '../../fixtures/client.ts';
import { Holdings } from '../../fixtures/holdings.ts';
import { startTestService, type TestService } from '../../fixtures/in-process.ts';
import { field, makePackage } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { program } from '../../fixtures/project.ts';
import { type Outcome, run } from '../../fixtures/run.ts';
import { startUpstream, status, type TestUpstream } from '../../fixtures/upstream.ts';

interface Kept {
  readonly upstream: TestUpstream;
  readonly service: TestService;
  command(...args: string[]): Promise<Outcome>;
}

async function setUp(t: TestContext, toml = '[gc]\nmax_age = "50h"\nmin_free = "0 B"\n'): Promise<Kept> {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const config = join(service.dir, '..', 'gc.toml');
  await writeFile(config, toml);
  const command = (...args: string[]) =>
    run(process.execPath, [program, ...args, '--config', config, '--cache-dir', service.dir]);
  return { upstream, service, command };
}

test('gc tells what goes and removes it; with --dry-run it only tells', async (t) => {
  const { upstream, service, command } = await setUp(t);
  const old = await fetched(service, upstream, 'old', 100);
  const dry = await command('gc', '--dry-run');
  assert.equal(dry.code, 0, dry.stderr);
  assert.match(
    dry.stdout,
    new RegExp(`KiB {2}${old.narInfoPath}\\nwould have removed 2 objects, 1\\d.*KiB, of 2`),
  );
  assert.ok(await isStored(service.dir, old.narInfoPath));
  const done = await command('gc');
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, new RegExp(`${old.narInfoPath}\\nremoved 2 objects, .*, of 2, .*\\n$`));
  assert.ok(!(await isStored(service.dir, old.narInfoPath)) && !(await isStored(service.dir, old.narPath)));
  assert.match((await command('gc')).stdout, /^removed 0 objects, 0 B, of 0, 0 B\n$/);
});

test('what a gc that is killed leaves half-removed is back with the next one', async (t) => {
  const { upstream, service, command } = await setUp(t);
  const trash = join(service.dir, 'trash');
  const left = async () => readdir(trash).catch(() => []);
  const config = join(service.dir, '..', 'gc.toml');
  // On a busy machine it may have come to its end before it is killed.
  for (let tries = 0; (await left()).length === 0 && tries < 10; tries++) {
    await fetched(service, upstream, `old-${tries}`, 100);
    const killed = new AbortController();
    const args = [program, 'gc', '--config', config, '--cache-dir', service.dir];
    const running = run(process.execPath, args, { signal: killed.signal });
    await until(() => existsSync(trash) && readdirSync(trash).length > 0, 'something to be moved aside');
    killed.abort();
    await running;
  }
  assert.equal((await left()).length, 1);
  assert.match((await command('gc')).stdout, /^removed 0 objects, 0 B, of 0,/, 'somebody may be at it');
  const then = new Date(Date.now() - 3_600_000);
  await utimes(trash, then, then);
  assert.match((await command('gc')).stdout, /removed 1 objects, .*, of 1,/);
  assert.deepEqual(await left(), []);
});

test('gc names a path that the Go service left', async (t) => {
  const { service, command } = await setUp(t);
  const [old, used] = [makePackage('flat'), new Date(Date.now() - 9e8)];
  for (const [path, body] of [
    [old.narInfoPath, old.narInfo],
    [old.narPath, old.file],
  ] as const) {
    const file = join(service.dir, basename(fileOf(service.dir, path)));
    await writeFile(file, body);
    await utimes(file, used, used);
  }
  assert.match(
    (await command('gc', '--dry-run')).stdout,
    new RegExp(` {2}${old.narInfoPath}\nwould have removed 2 objects`),
  );
});

test('gc leaves what was used before the clock was set back, and from then on that gets old', async (t) => {
  const { upstream, service, command } = await setUp(t, '[gc]\nmax_size = "1 B"\nmin_free = "0 B"\n');
  const one = await fetched(service, upstream, 'one', -2);
  const { stdout } = await command('gc');
  assert.match(stdout, /^removed 0 objects, .*\n.* KiB were used within the last hour\n$/);
  const { mtimeMs } = await stat(fileOf(service.dir, one.narPath));
  assert.ok(mtimeMs <= Date.now());
});

test('gc says what had to stay although it is too much', async (t) => {
  const { service, command } = await setUp(t, '[gc]\nmax_size = "1 B"\nmin_free = "0 B"\n');
  await pushed(service, 'own', 100);
  const { code, stdout } = await command('gc');
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^removed 0 objects, .*\n.* KiB more than the limits allow must stay: .* KiB were pushed, .*\n$/,
  );
});

test('pin, pins, unpin', async (t) => {
  const { upstream, service, command } = await setUp(t);
  const one = await fetched(service, upstream, 'one', 100);
  const two = await fetched(service, upstream, 'two', 100);
  assert.match(
    (await command('pin', one.storePath)).stdout,
    new RegExp(`^pinned ${one.storePath} as .*-one: 1 paths\n$`),
  );
  assert.equal((await command('pin', two.hash, '--name', 'release')).code, 0);
  const pins = (await command('pins')).stdout;
  assert.equal(pins, `${one.base}  ${one.storePath}\nrelease  ${two.storePath}\n`);
  assert.match((await command('gc')).stdout, /removed 0 objects/);
  assert.equal((await command('unpin', 'release')).stdout, `unpinned release: ${two.storePath}\n`);
  assert.match((await command('unpin', one.storePath)).stdout, /^unpinned .*-one/);
  assert.equal((await command('pins')).stdout, '');
  const missing = await command('unpin', 'release');
  assert.equal(missing.code, 2);
  assert.equal(missing.stderr, 'nix-binary-cache: found no pin release; see pins for what there is\n');
});

test('pin says what is still to come of the closure, and rm that the pin stays', async (t) => {
  const { service, command } = await setUp(t);
  const half = makePackage('half', { references: [makePackage('absent').base] });
  await push(service.url, half);
  const { stdout } = await command('pin', half.hash, '--name', 'h');
  assert.equal(
    stdout,
    `pinned ${half.storePath} as h: 1 paths\n1 paths it refers to are not here; they are kept once they come\n`,
  );
  assert.match((await command('rm', half.hash)).stdout, /^it is pinned as h: the pin stays\nremoved /);
  assert.equal((await command('pins')).stdout, `h  ${half.storePath}\n`);
});

test('what is not here, and what is no store path, can not be pinned', async (t) => {
  const { command } = await setUp(t);
  const absent = await command('pin', makePackage('absent').storePath);
  assert.equal(absent.code, 2);
  assert.match(absent.stderr, /is not in the cache: push it, or have a client fetch it, first\n$/);
  for (const bad of ['/etc/passwd', 'x', '/nix/store/../x', '']) {
    const refused = await command('pin', bad);
    assert.equal(refused.code, 2, bad);
    assert.match(refused.stderr, /expected a store path such as \/nix\/store\/0/);
  }
  const named = await command('pin', makePackage('absent').storePath, '--name', '../x');
  assert.equal(named.code, 2);
});

test('rm takes a path out at once, and the running service does not show it any more', async (t) => {
  const { service, command } = await setUp(t);
  const secret = await pushed(service, 'secret', 0);
  // What is asked for all the time is in its memory.
  let over = false;
  const asked = (async () => {
    while (!over) await get(service.url, secret.narInfoPath);
  })();
  const done = await command('rm', secret.storePath);
  for (const path of [secret.narInfoPath, secret.narPath])
    assert.equal((await get(service.url, path)).status, 404);
  over = true;
  await asked;
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, new RegExp(`^removed ${secret.storePath}\nremoved its NAR, 1\\d.* KiB\n$`));
  assert.equal((await command('rm', secret.storePath)).code, 2);
  await push(service.url, secret);
  assert.equal((await get(service.url, secret.narInfoPath)).status, 200, 'and it may come back');
});

test('so it is where rm can not reach the service; gc tells it too', async (t) => {
  const { upstream, service, command } = await setUp(t);
  const secret = await pushed(service, 'secret', 0);
  await rename(join(service.dir, 'service.sock'), join(service.dir, 'moved.sock'));
  assert.equal((await get(service.url, secret.narInfoPath)).status, 200);
  assert.equal((await command('rm', secret.storePath)).code, 0);
  assert.equal((await get(service.url, secret.narInfoPath)).status, 404);
  await rename(join(service.dir, 'moved.sock'), join(service.dir, 'service.sock'));
  const old = await fetched(service, upstream, 'old', 100);
  upstream.on(old.narInfoPath, status(404));
  // Without a NAR nothing is waited for.
  await unlink(fileOf(service.dir, old.narPath));
  assert.equal((await command('gc')).code, 0);
  assert.equal((await get(service.url, old.narInfoPath)).status, 404);
});

test('rm takes what was pushed of a path in other compressions, and what lies in quarantine', async (t) => {
  const { service, command } = await setUp(t);
  const secret = await pushed(service, 'secret', 0);
  const packed = (['gzip', 'xz'] as const).map((compression) =>
    makePackage('secret', { size: 10_000, compression }),
  );
  for (const one of packed) {
    assert.equal(one.storePath, secret.storePath);
    await push(service.url, one);
  }
  // A signature that comes later changes nothing about that.
  await push(service.url, secret);
  const aside = join(service.dir, 'quarantine');
  await mkdir(aside);
  const damaged = `${basename(fileOf(service.dir, secret.narPath))}-1`;
  for (const name of [damaged, `${damaged}.reason`, 'another-1']) await writeFile(join(aside, name), 'x');
  for (const one of [secret, ...packed]) assert.equal((await head(service.url, one.narPath)).status, 200);
  const done = await command('rm', secret.storePath);
  assert.equal(done.stdout.match(/^removed its NAR/gm)?.length, 3, done.stdout);
  for (const one of [secret, ...packed]) assert.equal((await head(service.url, one.narPath)).status, 404);
  assert.deepEqual(await readdir(aside), ['another-1']);
});

test('rm takes the NAR also of a path whose narinfo is damaged, or was set aside before', async (t) => {
  const { service, command } = await setUp(t);
  for (const isAside of [false, true]) {
    const secret = await pushed(service, `secret ${isAside}`.replace(' ', '-'), 0);
    const file = fileOf(service.dir, secret.narInfoPath);
    await writeFile(file, (await readFile(file, 'utf8')).replace('NarSize: 1', 'NarSize: 2'));
    if (isAside) assert.match((await command('verify')).stdout, /1 damaged/);
    const done = await command('rm', secret.storePath);
    assert.equal(done.code, 0, done.stderr);
    assert.equal(done.stdout.match(/^removed/gm)?.length, 2, done.stdout);
    assert.equal((await get(service.url, secret.narPath)).status, 404);
    assert.deepEqual(await readdir(join(service.dir, 'quarantine')), []);
  }
});

test('rm takes what leads to debug information in the NAR, under whichever of its names, and leaves that of others', async (t) => {
  const { command, service } = await setUp(t);
  const [gone, stays] = [makePackage('gone'), makePackage('stays')];
  const narHash = field(gone.narInfo, 'NarHash').slice('sha256:'.length);
  const archives = { a: gone.narPath, b: `/nar/${narHash}.nar`, c: stays.narPath };
  for (const one of [gone, stays]) await push(service.url, one);
  for (const [digit, archive] of Object.entries(archives)) {
    const index = JSON.stringify({ archive: `..${archive}`, member: 'lib/debug/x' });
    assert.equal((await put(service.url, `/debuginfo/${digit.repeat(40)}`, index)).status, 200);
  }
  const there = () =>
    Promise.all(
      Object.keys(archives).map((digit) => isStored(service.dir, `/debuginfo/${digit.repeat(40)}.debug`)),
    );
  assert.deepEqual(await there(), [true, true, true]);
  assert.equal((await command('rm', gone.storePath)).code, 0);
  assert.deepEqual(await there(), [false, false, true]);
});

test('rm leaves a NAR that another path has too, and says so', async (t) => {
  const { service, command } = await setUp(t);
  const one = await pushed(service, 'one', 0);
  const same = makePackage('same', { seed: 'one', size: 10_000 });
  assert.equal(field(same.narInfo, 'URL'), field(one.narInfo, 'URL'));
  await push(service.url, same);
  assert.match(
    (await command('rm', one.storePath)).stdout,
    /its NAR stays: 1 other paths have the same contents/,
  );
  assert.equal((await head(service.url, same.narPath)).status, 200);
  assert.ok(!(await readdir(service.dir)).includes('trash'), 'nor was it out of its place for a moment');
});

test('rm takes a path out whose narinfo is of another store, or is none, whatever else can not be read', async (t) => {
  const { service, command } = await setUp(t);
  const holdings = new Holdings(service.dir);
  const other = makePackage('other', { storeDir: '/opt/my/store' });
  const broken = makePackage('broken');
  await holdings.package(other, 'push');
  await holdings.nar(broken, 'push');
  await holdings.narInfo(broken, 'push', broken.narInfo.replace(/^StorePath: .*\n/, ''));
  const loop = holdings.file(makePackage('loop').narInfoPath);
  await mkdir(dirname(loop), { recursive: true });
  await symlink(loop, loop);
  for (const [one, name] of [
    [other, other.storePath],
    [broken, broken.hash],
  ] as const) {
    const done = await command('rm', one.hash);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, new RegExp(`^removed ${name}\nremoved its NAR, `));
    assert.ok(done.stderr.includes(loop), done.stderr);
  }
  assert.deepEqual(await holdings.ids(), [basename(loop)]);
});

test('rm that was interrupted goes on when it is run again', async (t) => {
  const { service, command } = await setUp(t);
  const secret = await pushed(service, 'secret', 0);
  const config = parseConfig(`cache_dir = "${service.dir}"\n`, { file: join(service.dir, 'cache.toml') });
  const killed = new Error('killed');
  const out = new PassThrough();
  t.mock.method(out, 'write', () => {
    throw killed;
  });
  const nobody = createLog(() => {});
  await assert.rejects(rm(config, secret.storePath, out, nobody), (error) => error === killed);
  assert.equal((await head(service.url, secret.narPath)).status, 200, 'its NAR is still there');
  const again = await command('rm', secret.storePath);
  assert.match(again.stdout, new RegExp(`^removed ${secret.storePath}\nremoved its NAR, `));
  assert.equal((await head(service.url, secret.narPath)).status, 404);
  assert.deepEqual(await readdir(join(service.dir, 'removing')), []);
  assert.equal((await command('rm', secret.storePath)).code, 2);
});

test('what rm says is removed does not come back after a power loss', async (t) => {
  const { service } = await setUp(t);
  const secret = await pushed(service, 'secret', 0);
  await put(service.url, `/${secret.hash}.ls`, '{"version":1,"root":{"type":"directory","entries":{}}}');
  const places = [secret.narInfoPath, `/${secret.hash}.ls`, secret.narPath].map((path) =>
    dirname(fileOf(service.dir, path)),
  );
  const synced: string[] = [];
  const handle = await open(service.dir, 'r');
  const handles = Object.getPrototypeOf(handle);
  await handle.close();
  const { sync } = handles;
  t.mock.method(handles, 'sync', function (this: FileHandle) {
    const folder = readlinkSync(`/proc/self/fd/${this.fd}`);
    if (!readdirSync(folder).some((name) => /^[0-9a-f]{64}$/.test(name))) synced.push(folder);
    return sync.call(this);
  });
  const config = parseConfig(`cache_dir = "${service.dir}"\n`, { file: join(service.dir, 'cache.toml') });
  await rm(
    config,
    secret.storePath,
    new PassThrough(),
    createLog(() => {}),
  );
  assert.deepEqual(
    [...places, join(service.dir, 'trash')].filter((folder) => !synced.includes(folder)),
    [],
  );
});
