// The real program: exit codes, what it writes where, and that it gets along with a running service.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { progressText } from '../../../lib/commands/verify.ts';
import { defer, temporaryFolder } from '../../fixtures/defer.ts';
import { Holdings } from '../../fixtures/holdings.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { patiently, until } from '../../fixtures/patience.ts';
import { program, projectRoot } from '../../fixtures/project.ts';
import { type Outcome, run } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { gated, startUpstream, whole } from '../../fixtures/upstream.ts';

const HEADER_BYTES = 1024;
const flip = (bytes: Buffer) => {
  bytes[HEADER_BYTES] = (bytes[HEADER_BYTES] as number) ^ 1;
  return bytes;
};

async function verify(
  t: TestContext,
  dir: string,
  url: string | undefined,
  ...args: string[]
): Promise<Outcome> {
  const cwd = await temporaryFolder(t);
  const config = url === undefined ? 'upstreams = []\n' : `[[upstreams]]\nurl = "${url}"\n`;
  await writeFile(join(cwd, 'cache.toml'), config);
  return run(process.execPath, [program, 'verify', '--cache-dir', dir, ...args], { cwd });
}

test('0 for all right, 3 for damage, 0 for all repaired, 3 again for what nobody has', async (t) => {
  const [one, two] = [makePackage('one'), makePackage('two')];
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  const holdings = await Holdings.create(t);
  for (const pack of [one, two]) await holdings.package(pack, upstream.url);
  const right = await verify(t, holdings.dir, upstream.url);
  assert.deepEqual([right.code, right.stderr], [0, '']);
  assert.match(right.stdout, /^checked 4 objects, \d.* KiB, 0 damaged\n$/);

  await holdings.edit(one.narPath, flip);
  const damaged = await verify(t, holdings.dir, upstream.url);
  assert.deepEqual([damaged.code, damaged.stderr], [3, '']);
  assert.match(
    damaged.stdout,
    new RegExp(`^damaged: ${one.narPath}: the SHA-256 .*; moved to quarantine/\nchecked 4 .* 1 damaged\n$`),
  );
  const [[label] = []] = await holdings.quarantined();
  assert.equal(label, one.narPath);

  await holdings.nar(one, upstream.url);
  await holdings.edit(one.narPath, flip);
  const repaired = await verify(t, holdings.dir, upstream.url, '--repair');
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.match(repaired.stdout, new RegExp(`\nrepaired: ${one.narPath}\n.* 1 damaged \\(1 repaired\\)\n$`));

  await holdings.edit(two.narPath, flip);
  const lost = await verify(t, holdings.dir, upstream.url, '--repair');
  assert.equal(lost.code, 3);
  assert.match(lost.stdout, new RegExp(`\nnot repaired: ${two.narPath}: no upstream has it\n`));
});

test('1 if it can not run, 2 for what it does not understand', async (t) => {
  const dir = await temporaryFolder(t);
  const missing = await verify(t, join(dir, 'missing'), undefined);
  assert.deepEqual([missing.code, missing.stdout], [1, '']);
  assert.match(missing.stderr, /^nix-binary-cache: can't read the cache folder .*\n$/);
  const sample = await verify(t, dir, undefined, '--sample', 'half');
  assert.equal(sample.code, 2);
  assert.match(sample.stderr, /^nix-binary-cache: --sample: found "half", expected a share such as 5%\n$/);
});

test('a sample of the whole finds what the whole has', async (t) => {
  const holdings = await Holdings.create(t);
  await holdings.package(makePackage('one'), 'push');
  await holdings.edit(makePackage('one').narPath, flip);
  assert.equal((await verify(t, holdings.dir, undefined, '--sample', '100%')).code, 3);
});

test('beside a running service: its downloads go on, its objects are not used, and it notices what went', async (t) => {
  const [stored, coming] = [
    makePackage('stored', { size: 50_000 }),
    makePackage('coming', { size: 3_000_000 }),
  ];
  const upstream = await startUpstream(t);
  const gate = gated(coming.file);
  upstream.on(stored.narInfoPath, whole(stored.narInfo));
  upstream.on(stored.narPath, whole(stored.file));
  upstream.on(coming.narInfoPath, whole(coming.narInfo));
  upstream.on(coming.narPath, gate.handler);
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n` });
  const holdings = new Holdings(service.dir);
  await holdings.package(stored, upstream.url);
  const download = await fetch(service.url + coming.narPath);
  gate.release(2_000_000);
  await upstream.asked(coming.narPath);
  await until(async () => (await readdir(join(service.dir, 'tmp'))).length > 0, 'a temporary file');
  const long = new Date(Date.now() - 9e9);
  await utimes(holdings.file(stored.narInfoPath), long, long);
  const { mtimeMs } = await stat(holdings.file(stored.narInfoPath));
  await holdings.edit(stored.narPath, flip);

  const { code, stderr } = await verify(t, service.dir, upstream.url, '--repair');
  assert.equal(code, 0, stderr);
  assert.equal(upstream.count(stored.narPath), 1);
  gate.release();
  assert.ok(Buffer.from(await download.arrayBuffer()).equals(coming.file), 'the download was not disturbed');
  const reply = await fetch(service.url + stored.narPath);
  assert.ok(Buffer.from(await reply.arrayBuffer()).equals(stored.file));
  assert.equal(upstream.count(stored.narPath), 1, 'what verify fetched is served');

  await utimes(holdings.file(stored.narInfoPath), long, long);
  assert.equal((await verify(t, service.dir, undefined)).code, 0);
  assert.equal((await stat(holdings.file(stored.narInfoPath))).mtimeMs, mtimeMs);
});

test('SIGINT ends it with what it has seen, and leaves nothing half done', async (t) => {
  const upstream = await startUpstream(t);
  const one = makePackage('one', { size: 3_000_000 });
  const gate = gated(one.file);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, gate.handler);
  const holdings = await Holdings.create(t);
  await holdings.package(one, upstream.url);
  await holdings.edit(one.narPath, flip);
  const cwd = await temporaryFolder(t);
  await writeFile(join(cwd, 'cache.toml'), `[[upstreams]]\nurl = "${upstream.url}"\n`);
  const child = spawn(process.execPath, [program, 'verify', '--repair', '--cache-dir', holdings.dir], {
    cwd,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = once(child, 'close');
  defer(t, async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  await upstream.asked(one.narPath);
  child.kill('SIGINT');
  await patiently(ended, 'verify to end');
  assert.equal(child.exitCode, 3);
  assert.match(stdout, /^damaged: .*\ninterrupted: checked 2 objects, .* 1 damaged\n$/);
  assert.deepEqual(await readdir(join(holdings.dir, 'tmp')), []);
});

test('what it says while it reads', () => {
  const progress = { done: 0.25, bytes: 3 * 2 ** 30, objects: 10, findings: 0 };
  assert.equal(progressText(progress, 60_000), ' 25 %  3.0 GiB read  51.2 MiB/s  3 min left');
  assert.equal(progressText({ ...progress, findings: 2 }, 500), ' 25 %  3.0 GiB read  6.0 GiB/s  2 found');
  assert.equal(progressText({ done: 0, bytes: 0, objects: 0, findings: 0 }, 0), '  0 %  0 B read  0 B/s');
});

test('--help names the exit codes', async () => {
  const { stdout } = await run(process.execPath, [program, '--help']);
  assert.match(stdout, /verify ends with 0 if .*, 1 if .*, 3 if /);
  assert.match(await readFile(join(projectRoot, 'docs/operate.md'), 'utf8'), /nix-binary-cache verify/);
});
