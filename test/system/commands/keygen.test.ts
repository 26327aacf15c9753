// A key pair that Nix takes, in files that nobody else reads and that nothing is written over.
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseNarInfo } from '../../../lib/nix/narinfo.ts';
import { type PublicKey, readKeys, readSecretKey, verify } from '../../../lib/nix/signature.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { program } from '../../fixtures/project.ts';
import { type Outcome, run } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';

const NAME = 'cache.example.org-1';
const LINE = /^extra-trusted-public-keys = (cache\.example\.org-1:[A-Za-z0-9+/]{43}=)$/m;

function keygen(cwd: string, ...args: string[]): Promise<Outcome> {
  return run(process.execPath, [program, 'keygen', ...args], { cwd });
}

async function made(
  t: TestContext,
): Promise<{ folder: string; secret: string; public: string; stdout: string }> {
  const folder = await temporaryFolder(t);
  const { code, stdout, stderr } = await keygen(folder, NAME);
  assert.equal(code, 0, stderr);
  const read = (kind: string) => readFile(join(folder, `${NAME}.${kind}`), 'utf8');
  return { folder, secret: await read('secret'), public: await read('public'), stdout };
}

test('two files, the secret one for nobody else, and the line that clients need', async (t) => {
  const { folder, secret, public: publicKey, stdout } = await made(t);
  assert.deepEqual((await readdir(folder)).sort(), [`${NAME}.public`, `${NAME}.secret`]);
  assert.equal((await stat(join(folder, `${NAME}.secret`))).mode & 0o777, 0o600);
  assert.equal(LINE.exec(stdout)?.[1], publicKey);
  assert.match(stdout, /^# {3}key_file = "cache\.example\.org-1\.secret"$/m);
  const [, base64 = ''] = secret.split(':');
  assert.ok(!stdout.includes(base64.slice(0, 20)), 'the secret is not printed');
});

test('what is signed with the secret one verifies with the public one, and no two pairs are the same', async (t) => {
  const [a, b] = [await made(t), await made(t)];
  const { narInfo } = makePackage('x');
  const signed = (secret: string) => {
    const info = parseNarInfo(narInfo, '/nix/store');
    return parseNarInfo(`${narInfo}Sig: ${readSecretKey(secret).sign(info, '/nix/store')}\n`, '/nix/store');
  };
  const verified = (one: typeof a, other: typeof a) =>
    verify(signed(one.secret), readKeys([other.public as PublicKey]), '/nix/store');
  assert.equal(verified(a, a), NAME);
  assert.equal(verified(b, b), NAME);
  assert.equal(verified(a, b), undefined);
});

test('the service signs with it', async (t) => {
  const { folder } = await made(t);
  const config = `upstreams = []\n[signing]\nkey_file = "${join(folder, `${NAME}.secret`)}"\n`;
  const service = await startService(t, { config });
  assert.equal(await service.stop(), 0);
});

for (const [what, make] of [
  ['a secret key', (file: string) => writeFile(`${file}.secret`, 'precious')],
  ['a public key', (file: string) => writeFile(`${file}.public`, 'precious')],
  ['a folder', (file: string) => mkdir(`${file}.public`)],
  ['a link that leads nowhere', (file: string) => symlink(`${file}.elsewhere`, `${file}.secret`)],
] as const) {
  test(`${what} of that name → exit 1, it stays, and nothing is added`, async (t) => {
    const folder = await temporaryFolder(t);
    await make(join(folder, NAME));
    const before = await readdir(folder);
    const { code, stdout, stderr } = await keygen(folder, NAME);
    assert.equal(code, 1);
    assert.match(stderr, /^nix-binary-cache: can't write .*: it exists, and a key is never written over\n$/);
    assert.equal(stdout, '');
    assert.deepEqual(await readdir(folder), before);
    for (const name of before.filter((one) => what.endsWith('key') && one.startsWith(NAME)))
      assert.equal(await readFile(join(folder, name), 'utf8'), 'precious');
  });
}

test('a name that makes no key, none, and one too many → exit 2, nothing is written', async (t) => {
  const folder = await temporaryFolder(t);
  for (const args of [
    [''],
    ['a:b'],
    ['a b'],
    ['../x'],
    ['a/b'],
    ['.x'],
    ['x\n'],
    ['ü'],
    ['x'.repeat(101)],
    [],
    ['a', 'b'],
  ]) {
    const { code, stdout } = await keygen(folder, ...args);
    assert.deepEqual([code, stdout], [2, ''], JSON.stringify(args));
  }
  assert.deepEqual(await readdir(folder), []);
});
