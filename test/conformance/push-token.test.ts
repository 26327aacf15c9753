// Who may push to a cache whose configuration names nobody: whoever has the token that its first start makes. Section 8 of
// docs/protocol.md, 40 and 79.
import assert from 'node:assert/strict';
import { chmod, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, push, put } from '../fixtures/client.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { basic, bearer, type Headers, tokenTable } from '../fixtures/tokens.ts';

const one = makePackage('own', { size: 10_000 });
const FROM = '[push]\nfrom = ["127.0.0.1", "::1"]\n';

async function tokenIn({ dir }: Pick<TestService, 'dir'>): Promise<string> {
  const text = await readFile(join(dir, 'push.netrc'), 'utf8');
  return /password (\w{48})\n/.exec(text)?.[1] ?? assert.fail(text);
}

const pushes = async ({ url }: Pick<TestService, 'url'>, headers: Headers = {}) =>
  await put(url, one.narPath, one.file, headers);

test('79: the first start makes a token; without it nobody pushes, from loopback neither', async (t) => {
  const service = await startTestService(t, { closed: true });
  const token = await tokenIn(service);
  assert.equal((await stat(join(service.dir, 'push.netrc'))).mode & 0o7777, 0o600);
  for (const headers of [{}, { 'x-forwarded-for': '127.0.0.1' }, { via: '1.1 x' }, basic('x'.repeat(48))]) {
    for (const path of [one.narPath, one.narInfoPath, '/nix-cache-info', `/push${one.narPath}`]) {
      const reply = await put(service.url, path, one.file, { ...headers, expect: '100-continue' });
      assert.equal(reply.status, 401, path);
      assert.match(reply.text, /push\.netrc in the cache folder/);
      assert.ok(!reply.text.includes(service.dir) && !reply.text.includes('/tmp'), 'no path of the machine');
    }
  }
  for (const headers of [basic(token), basic(token, 'push'), basic(token, 'anybody'), bearer(token)])
    assert.equal((await pushes(service, headers)).status, 200);
  for (const path of ['/push.netrc', '/../push.netrc', '/%2e/push.netrc', '/nar/../push.netrc'])
    assert.ok([400, 404].includes((await get(service.url, path)).status), path);
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200, 'reading is open');
  assert.match(
    await service.logged(/pushing takes the token/),
    /info .*push\.netrc: nix copy --option netrc-file \S+\/push\.netrc --to http:\/\/127\.0\.0\.1:\d+\/push \.\/result$/,
  );
  const old = [Buffer.from(`push:${token}`).toString('base64'), token];
  await service.restart();
  assert.equal(await tokenIn(service), token, 'a restart keeps it');
  assert.equal((await pushes(service, basic(token))).status, 200);
  for (const secret of old) assert.ok(!service.log.join('\n').includes(secret), 'never in the log');
});

test('tokens or addresses in the configuration replace it, without a restart too', async (t) => {
  const mine = 'mine-0123456789abcdef';
  const service = await startTestService(t, { closed: true, toml: tokenTable('ci', mine, 'push') });
  assert.ok(!(await readdir(service.dir)).includes('push.netrc'), 'none is made');
  assert.equal((await pushes(service)).status, 401);
  assert.equal((await pushes(service, basic(mine))).status, 200);

  await service.reload('');
  const token = await tokenIn(service);
  assert.equal((await pushes(service, basic(mine))).status, 401);
  assert.equal((await pushes(service, basic(token))).status, 200);

  await service.reload(tokenTable('ci', mine, 'push'));
  assert.equal((await pushes(service, basic(token))).status, 401, 'it does not count any more');
  assert.equal((await pushes(service, basic(mine))).status, 200);
  await service.logged(/^warn .*push\.netrc does not count, as the configuration has \[\[tokens\]\]/);

  await service.reload(FROM);
  assert.equal((await pushes(service)).status, 200);
  assert.equal((await pushes(service, { 'x-forwarded-for': '127.0.0.1' })).status, 401);
  await service.logged(
    /^info \[push\] from: this machine may push .* whoever comes through a reverse proxy on it/,
  );

  await service.reload('[push]\nfrom = []\n');
  assert.equal((await pushes(service)).status, 401);
  assert.equal((await pushes(service, basic(token))).status, 401);

  await service.reload('');
  assert.equal((await pushes(service, basic(token))).status, 200, 'the file counts again');
  await rm(join(service.dir, 'push.netrc'));
  assert.equal((await pushes(service, basic(token))).status, 200, 'until it is read again');
  await service.reload('');
  assert.equal((await pushes(service, basic(token))).status, 401);
  assert.equal((await pushes(service, basic(await tokenIn(service)))).status, 200, 'a new one');
});

test('a trusted proxy that names no client is not this machine, whatever [push] from says', async (t) => {
  const toml = `trusted_proxies = ["127.0.0.1"]\n[push]\nfrom = ["127.0.0.0/8", "10.0.0.0/8"]\n`;
  const service = await startTestService(t, { closed: true, toml });
  assert.equal((await pushes(service)).status, 401);
  for (const [forwarded, status] of [
    ['127.0.0.1', 401],
    ['unknown', 401],
    ['', 401],
    ['10.1.1.1', 200],
    ['192.0.2.1', 401],
  ] as const)
    assert.equal((await pushes(service, { 'x-forwarded-for': forwarded })).status, status, forwarded);
});

test('a damaged push.netrc: uploads are refused and hits go on; once it is deleted there is a new one', async (t) => {
  const file = join(await temporaryFolder(t), 'kept');
  const service = await startTestService(t, {
    closed: true,
    prepare: (dir) => writeFile(join(dir, 'push.netrc'), 'machine localhost login push password short\n'),
  });
  const line = await service.logged(/uploads are refused/);
  assert.match(line, /^warn .*push\.netrc: found a token of 5 characters, expected 16 .*delete the file/);
  for (const headers of [{}, basic('short'), basic('x'.repeat(48))]) {
    const reply = await pushes(service, headers);
    assert.equal(reply.status, 401);
    assert.match(reply.text, /no token for pushing now: its file push\.netrc is damaged, as its log says/);
    assert.ok(!reply.text.includes(service.dir));
  }
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
  await rename(join(service.dir, 'push.netrc'), file);
  await service.logged(/pushing takes the token/);
  assert.equal((await pushes(service, basic(await tokenIn(service)))).status, 200);
  assert.equal(service.log.filter((one) => one.includes('uploads are refused')).length, 1, 'said once');
});

test('one that others can read is used, and the log says so', async (t) => {
  const service = await startTestService(t, { closed: true });
  await chmod(join(service.dir, 'push.netrc'), 0o644);
  await service.restart();
  await service.logged(/^warn .*push\.netrc can be read by others on this machine: chmod 600/);
  assert.equal((await pushes(service, basic(await tokenIn(service)))).status, 200);
});

test('a stop ends all trying', async (t) => {
  const service = await startTestService(t, {
    closed: true,
    prepare: (dir) => writeFile(join(dir, 'push.netrc'), ''),
  });
  await service.logged(/uploads are refused/);
  await service.stop();
  const said = service.log.length;
  await rm(join(service.dir, 'push.netrc'));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.equal(service.log.length, said);
  assert.ok(!(await readdir(service.dir)).includes('push.netrc'));
});

test('the fixtures push where the configuration lets them', async (t) => {
  const service = await startTestService(t);
  await push(service.url, one);
  await until(() => service.log.some((line) => line.includes('PUT')), 'a line of the log');
});
