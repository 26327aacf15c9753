// Who may write and who may read: tokens, addresses, proxies in front. Section 8 of docs/protocol.md, 2, 40 and 64.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, head, push, put } from '../fixtures/client.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { assertClean, rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startService } from '../fixtures/service.ts';
import { storedFiles } from '../fixtures/stored-files.ts';
import { basic, bearer, type Headers, tokenTable } from '../fixtures/tokens.ts';

const PULL = 'pull-0123456789abcdef';
const PUSH = 'push:0123456789/ab+cd';
const ADMIN = 'admin-0123456789abcdef';
const WRONG = 'wrong-0123456789abcdef';
const SECRETS = [PULL, PUSH, ADMIN, WRONG].flatMap((token) => [
  token,
  encodeURIComponent(token),
  ...['', 'ci', 'nix'].map((user) => Buffer.from(`${user}:${token}`).toString('base64')),
]);
const TOKENS = [
  tokenTable('reader', PULL, 'pull'),
  tokenTable('ci', PUSH, 'push'),
  tokenTable('root', ADMIN, 'admin'),
].join('');
const CLOSED = `read = "token"\n${TOKENS}`;

const one = makePackage('access', { size: 100_000 });
const EXPECT = { 'Content-Length': String(one.file.length), Expect: '100-continue' };
const UPLOADS = [
  ...[one.narPath, one.narInfoPath, `/upload${one.narPath}`, `/upload${one.narInfoPath}`],
  ...[`/${one.hash}.ls`, `/log/${one.base}.drv`, '/nix-cache-info', '/', '/healthz', '/index.html'],
];

/** Sees that no secret is in the log. */
function assertDiscreet({ log }: Pick<TestService, 'log'>): void {
  const text = log.join('\n');
  assert.ok(log.length > 0);
  for (const secret of SECRETS) assert.ok(!text.includes(secret), `the log has ${secret}`);
}

/** The answer to a PUT that waits for leave to send its body. */
async function asksToPut(t: Parameters<typeof rawConnect>[0], url: string, path: string, headers: Headers) {
  const client = await rawConnect(t, url);
  client.send(requestText(`PUT ${path} HTTP/1.1`, { ...EXPECT, ...headers }));
  return await client.reply();
}

for (const path of UPLOADS) {
  test(`40: PUT ${path} without a token, or with a wrong one → 401 before 100, nothing stored`, async (t) => {
    const service = await startTestService(t, { toml: TOKENS });
    for (const headers of [{}, basic(WRONG, 'ci'), bearer(WRONG), basic(PUSH.slice(1)), { cookie: PUSH }]) {
      const reply = await asksToPut(t, service.url, path, headers);
      assert.equal(reply.status, 401);
      assert.match(reply.headers['www-authenticate'] ?? '', /^Basic realm="[^"]+"/);
      assertClean(reply, path);
      for (const secret of SECRETS) assert.ok(!reply.body.includes(secret), reply.body.toString());
    }
    assert.equal((await storedFiles(service.dir, true)).size, 0);
    assertDiscreet(service);
  });
}

test('40: a valid token without the right → 403 before 100, with a line that names it', async (t) => {
  const service = await startTestService(t, { toml: TOKENS });
  for (const headers of [basic(PULL, 'ci'), bearer(PULL)]) {
    const reply = await asksToPut(t, service.url, one.narPath, headers);
    assert.equal(reply.status, 403);
    assert.equal(reply.headers['www-authenticate'], undefined);
  }
  assert.match(await service.logged(/^warn .*reader/), /127\.0\.0\.1/);
  assertDiscreet(service);
});

const WAYS: Record<string, Headers> = {
  'as the password of a user': basic(PUSH, 'ci'),
  '64: as the password of nobody': basic(PUSH),
  'as the password of a user in another script': basic(PUSH, 'ключ'),
  'as a Bearer': bearer(PUSH),
  'of an admin': basic(ADMIN, 'nix'),
};
for (const [what, headers] of Object.entries(WAYS)) {
  test(`a token ${what} may push, after 100 when that is waited for`, async (t) => {
    const service = await startTestService(t, { toml: CLOSED });
    const client = await rawConnect(t, service.url);
    client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, { ...EXPECT, ...headers }));
    assert.equal((await client.reply()).status, 100);
    client.send(one.file);
    assert.equal((await client.reply()).status, 200);
    assert.equal((await put(service.url, one.narInfoPath, one.narInfo, headers)).status, 200);
    assert.equal((await get(service.url, one.narInfoPath, { headers })).text, one.narInfo);
    assertDiscreet(service);
  });
}

test('2: PUT of nix-cache-info takes the right to push, and changes nothing', async (t) => {
  const service = await startTestService(t, { toml: TOKENS });
  const before = (await get(service.url, '/nix-cache-info')).text;
  const info = 'StoreDir: /nix/store\nPriority: 1\n';
  assert.equal((await put(service.url, '/nix-cache-info', info)).status, 401);
  assert.equal((await put(service.url, '/nix-cache-info', info, basic(PULL))).status, 403);
  assert.equal((await put(service.url, '/nix-cache-info', info, basic(PUSH))).status, 200);
  assert.equal((await get(service.url, '/nix-cache-info')).text, before);
});

const READS = [
  ...['/', '/upload', '/nix-cache-info', '/upload/nix-cache-info', one.narInfoPath, one.narPath],
  ...[
    `/upload${one.narInfoPath}`,
    `/upload${one.narPath}`,
    `/x${one.narInfoPath}`,
    `/${'0'.repeat(32)}.narinfo`,
  ],
  ...[
    `/log/${one.base}.drv`,
    '/index.html',
    '/upload/healthz',
    '/%68ealthz/x',
    '/..',
    '/%zz',
    '/nar/../healthz',
  ],
];
test('read = "token": all but /healthz is closed to whoever has none, and says nothing of what is there', async (t) => {
  const service = await startTestService(t, { toml: CLOSED });
  for (const [path, body] of [
    [one.narPath, one.file],
    [one.narInfoPath, one.narInfo],
    [`/log/${one.base}.drv`, 'text'],
  ] as const) {
    assert.equal((await put(service.url, path, body, basic(PUSH))).status, 200);
  }
  for (const path of READS) {
    for (const method of ['GET', 'HEAD']) {
      for (const headers of [{}, { range: 'bytes=0-1' }, { 'x-forwarded-for': '127.0.0.1' }]) {
        const reply = await get(service.url, path, { method, headers });
        assert.equal(reply.status, 401, `${method} ${path}`);
        assert.match(reply.headers['www-authenticate'] ?? '', /^Basic/);
        assert.ok(!reply.text.includes(one.hash) && reply.headers.etag === undefined, reply.text);
      }
    }
  }
  assert.equal((await get(service.url, '/healthz')).status, 200);
  assert.equal((await head(service.url, '/healthz')).status, 200);
  for (const token of [PULL, PUSH, ADMIN]) {
    for (const path of READS.slice(0, 9)) {
      for (const headers of [basic(token, 'nix'), bearer(token)]) {
        assert.equal((await get(service.url, path, { headers })).status, 200, path);
        assert.equal((await head(service.url, path, headers)).status, 200, path);
      }
    }
  }
  assert.equal((await get(service.url, '/index.html', { headers: basic(PULL) })).status, 404);
  assertDiscreet(service);
});

test('an answer that is refused leaves a connection that works', async (t) => {
  const service = await startTestService(t, { toml: CLOSED });
  const client = await rawConnect(t, service.url);
  const request = (headers: Headers) => client.send(requestText('GET /nix-cache-info HTTP/1.1', headers));
  for (const [headers, status] of [
    [{}, 401],
    [basic(PULL), 200],
    [basic(WRONG), 401],
    [bearer(PUSH), 200],
  ] as const) {
    request(headers);
    assert.equal((await client.reply()).status, status);
  }
});

test('[push] from: addresses of the ranges push and read without a token; through a trusted proxy those of its clients', async (t) => {
  const toml = `trusted_proxies = ["127.0.0.1"]\n${CLOSED}[push]\nfrom = ["10.0.0.0/8", "fd00::/16"]\n`;
  const service = await startTestService(t, { toml });
  const cases: [string | undefined, number][] = [
    [undefined, 401],
    ['10.1.2.3', 200],
    ['fd00::7', 200],
    ['::ffff:10.1.2.3', 200],
    ['11.1.2.3', 401],
    ['fd01::7', 401],
    ['10.1.2.3, 192.0.2.1', 401],
    ['192.0.2.1, 10.1.2.3', 200],
    ['nonsense', 401],
    ['127.0.0.1', 401],
  ];
  for (const [address, status] of cases) {
    const headers: Headers = address === undefined ? {} : { 'x-forwarded-for': address };
    const reply = await put(service.url, one.narPath, one.file, headers);
    assert.equal(reply.status, status, `PUT for ${address}`);
    assert.equal(
      (await get(service.url, '/nix-cache-info', { headers })).status,
      status,
      `GET for ${address}`,
    );
    assert.equal(
      (await put(service.url, one.narPath, one.file, { ...headers, origin: 'http://evil' })).status,
      401,
    );
  }
  await service.logged(/^warn PUT .*192\.0\.2\.1/);
  await service.logged(/^info 192\.0\.2\.1 PUT .* 401 /);
  await service.logged(/^info 10\.1\.2\.3 PUT .* 200 /);
});

test('from a proxy that is not trusted, a token is needed, whatever it says of its client', async (t) => {
  const service = await startTestService(t);
  for (const name of [
    'x-forwarded-for',
    'forwarded',
    'via',
    'x-real-ip',
    'x-forwarded-host',
    'x-forwarded-proto',
  ]) {
    const reply = await put(service.url, one.narPath, one.file, { [name]: '127.0.0.1' });
    assert.equal(reply.status, 401, name);
  }
  await push(service.url, one);
});

test('tokens from the environment and from files; what is amiss stops the start and shows none', async (t) => {
  const file = join(await temporaryFolder(t), 'token');
  await writeFile(file, `${PULL}\n`);
  const fromFile = `[[tokens]]\nname = "reader"\ntoken_file = "${file}"\nallow = ["pull"]\n`;
  const config = `upstreams = []\nread = "token"\n${tokenTable('ci', '${CI_TOKEN}', 'push')}${fromFile}`;
  const service = await startService(t, { config, env: { CI_TOKEN: PUSH } });
  assert.equal((await put(service.url, one.narPath, one.file, basic(PUSH))).status, 200);
  assert.equal((await get(service.url, one.narPath, { headers: basic(PULL) })).status, 200);
  assert.equal((await get(service.url, one.narPath)).status, 401);
  await service.stop();
  const broken: [string, NodeJS.ProcessEnv, RegExp][] = [
    [config, {}, /CI_TOKEN/],
    [
      config,
      { CI_TOKEN: 'short' },
      /tokens\[0\]\.token: found something with a value of the environment in it, expected 16 to 512/,
    ],
    [config, { CI_TOKEN: PULL }, /are the same/],
    [config.replace(file, `${file}.none`), { CI_TOKEN: PUSH }, /token_file of reader/],
  ];
  for (const [text, env, message] of broken) {
    await assert.rejects(startService(t, { config: text, env }), (error: Error) => {
      assert.match(error.message, message);
      for (const secret of SECRETS) assert.ok(!error.message.includes(secret));
      return true;
    });
  }
  const log = service.log();
  for (const secret of SECRETS) assert.ok(!log.includes(secret));
});
