// SIGHUP: tokens, keys and certificates are read again; what can't be used leaves everything as it was, and the log says
// why, without a secret in it.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { get, push, put } from '../fixtures/client.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { makePackage, publicKey, readNarInfo, sign } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { type Service, startService } from '../fixtures/service.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import { secureConnect } from '../fixtures/tls-client.ts';
import { basic, tokenTable } from '../fixtures/tokens.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const OLD = 'old-hunter2-0123456789';
const NEW = 'new-hunter2-0123456789';
const KEYS = ['a-1', 'b-1'].map((name, i) => ({ name, seed: Buffer.alloc(32, i + 1) }));
const [A, B] = KEYS as [(typeof KEYS)[0], (typeof KEYS)[0]];
const one = makePackage('reload');
const DONE = /info SIGHUP: tokens, keys and certificates were read again$/;
const FAILED = /error SIGHUP: the configuration stays as it was: /;

const config = (token: string, more = '') => `upstreams = []\n${more}${tokenTable('ci', token, 'push')}`;

async function mayPush(service: Service, token: string): Promise<number> {
  return (await put(service.url, one.narPath, one.file, basic(token))).status;
}

async function assertDiscreet(service: Service): Promise<void> {
  const log = await service.wholeLog();
  assert.ok(!log.includes('hunter2'), log);
}

test('another token holds at once, the old one no more', async (t) => {
  const service = await startService(t, { config: config(OLD) });
  assert.deepEqual([await mayPush(service, OLD), await mayPush(service, NEW)], [200, 401]);
  assert.match(await service.reload(config(NEW)), DONE);
  assert.deepEqual([await mayPush(service, OLD), await mayPush(service, NEW)], [401, 200]);
  assert.match(await service.reload('upstreams = []\n'), DONE);
  assert.equal((await put(service.url, one.narPath, one.file)).status, 200);
  assert.match(await service.reload(config(NEW, 'read = "token"\n')), DONE);
  assert.equal((await get(service.url, one.narPath)).status, 401);
  assert.equal((await get(service.url, one.narPath, { headers: basic(NEW) })).status, 200);
  await assertDiscreet(service);
  assert.equal(await service.stop(), 0);
});

test('a token_file is read again, though the configuration is the same', async (t) => {
  const file = join(await temporaryFolder(t), 'token');
  await writeFile(file, OLD);
  const text = `upstreams = []\n[[tokens]]\nname = "ci"\ntoken_file = "${file}"\nallow = ["push"]\n`;
  const service = await startService(t, { config: text });
  await writeFile(file, NEW);
  assert.equal(await mayPush(service, OLD), 200);
  assert.match(await service.reload(), DONE);
  assert.deepEqual([await mayPush(service, OLD), await mayPush(service, NEW)], [401, 200]);
  await writeFile(file, 'hunter2');
  assert.match(await service.reload(), FAILED);
  assert.deepEqual([await mayPush(service, OLD), await mayPush(service, NEW)], [401, 200]);
  await assertDiscreet(service);
});

const BROKEN: Record<string, string> = {
  'no TOML': `${config(NEW)}[[[`,
  'a token without its quote': config(NEW).replace(`${NEW}"`, NEW),
  'a token without any quote': config(NEW).replaceAll(`"${NEW}"`, NEW),
  'a token that is too short': config('hunter2'),
  'a token with a space in it': config(`${NEW} ${NEW}`),
  'a token that is a table': config(NEW).replace(`"${NEW}"`, `{ x = "${NEW}" }`),
  'a token under two names': config(NEW) + tokenTable('again', NEW, 'pull'),
  'an unknown key': config(NEW, 'unknown = 1\n'),
  'an unknown right': config(NEW).replace('"push"', '"write"'),
  'a variable that is not set': config('${NO_SUCH_TOKEN}'),
  'a key file that is missing': `${config(NEW)}[signing]\nkey_file = "nowhere"\n`,
  'a certificate that is missing': `${config(NEW)}[tls]\ncert_file = "nowhere"\nkey_file = "nowhere"\n`,
  'a trusted key that is none': `${config(NEW)}[push]\ntrusted_keys = ["hunter2"]\n`,
  'a range that is none': `${config(NEW)}[push]\nfrom = ["10.0.0.0/64"]\n`,
};
test('a broken configuration leaves all as it was, and the log says what is wrong', async (t) => {
  const service = await startService(t, { config: config(OLD) });
  for (const [what, text] of Object.entries(BROKEN)) {
    assert.match(await service.reload(text), FAILED, what);
    assert.equal(await mayPush(service, OLD), 200, what);
    assert.equal((await get(service.url, one.narPath)).status, 200, what);
  }
  assert.equal(await mayPush(service, NEW), 401);
  await assertDiscreet(service);
  assert.match(await service.reload(config(NEW)), DONE);
  assert.equal(await mayPush(service, NEW), 200);
});

test('trusted_keys, the key that signs and max_upload_size', async (t) => {
  const folder = await temporaryFolder(t);
  const secret = async (key: typeof A) => {
    const [name, base64 = ''] = publicKey(key).split(':');
    const bytes = Buffer.concat([key.seed, Buffer.from(base64, 'base64')]);
    await writeFile(join(folder, 'key'), `${name}:${bytes.toString('base64')}`);
  };
  const trusting = (key: typeof A) =>
    `upstreams = []\n[push]\ntrusted_keys = ["${publicKey(key)}"]\n[signing]\nkey_file = "${folder}/key"\n`;
  await secret(B);
  const service = await startService(t, { config: trusting(A) });
  const signed = makePackage('reload', { keys: [A] });
  await push(service.url, signed);
  const sigs = async () => readNarInfo((await get(service.url, one.narInfoPath)).text).get('Sig');
  assert.deepEqual(
    await sigs(),
    [A, B].map((key) => sign(one.fingerprint, key)),
  );
  await secret(A);
  assert.match(await service.reload(trusting(B)), DONE);
  assert.deepEqual(await sigs(), [sign(one.fingerprint, A)]);
  assert.equal((await put(service.url, one.narInfoPath, signed.narInfo)).status, 400);
  assert.match(await service.reload('upstreams = []\nmax_upload_size = "1 KiB"\n'), DONE);
  assert.equal((await put(service.url, one.narPath, one.file)).status, 413);
});

async function upstreamSignedBy(t: TestContext, key: typeof A, ...names: string[]): Promise<string> {
  const upstream = await startUpstream(t);
  for (const name of names) {
    const { narInfoPath, narInfo } = makePackage(name, { keys: [key] });
    upstream.on(narInfoPath, whole(narInfo));
  }
  return upstream.url;
}

test('public_keys of an upstream', async (t) => {
  const url = await upstreamSignedBy(t, B, 'x', 'y');
  const believing = (key: typeof A) =>
    `negative_ttl = "0s"\n[[upstreams]]\nurl = "${url}"\npublic_keys = ["${publicKey(key)}"]\n`;
  const service = await startService(t, { config: believing(A) });
  assert.equal((await get(service.url, makePackage('x').narInfoPath)).status, 502);
  await service.logged(/expected a signature of a-1 that verifies, found b-1/);
  assert.match(await service.reload(believing(B)), DONE);
  assert.equal((await get(service.url, makePackage('y').narInfoPath)).status, 200);
});

test('the certificate; a broken one leaves the old one, and no connection is lost', async (t) => {
  const authority = makeAuthority();
  const [first, second] = [authority.issue('IP:127.0.0.1'), authority.issue('IP:127.0.0.1')];
  const folder = await temporaryFolder(t);
  const write = async ({ cert, key }: typeof first) => {
    await writeFile(join(folder, 'cert'), cert);
    await writeFile(join(folder, 'key'), key);
  };
  await write(first);
  const text = `upstreams = []\n[tls]\ncert_file = "${folder}/cert"\nkey_file = "${folder}/key"\n`;
  const service = await startService(t, { config: text });
  assert.match(service.url, /^https:/);
  const old = await secureConnect(t, service.url, { ca: authority.ca });
  await write({ cert: second.cert, key: first.key });
  assert.match(await service.reload(), FAILED);
  const same = await secureConnect(t, service.url, { ca: authority.ca });
  assert.equal(same.serial, old.serial);
  await write(second);
  assert.match(await service.reload(), DONE);
  const fresh = await secureConnect(t, service.url, { ca: authority.ca });
  assert.notEqual(fresh.serial, old.serial);
  for (const { get } of [old, same, fresh]) assert.equal((await get('/nix-cache-info')).status, 200);
  assert.equal(await service.stop(), 0);
});

test('many at once end with the newest configuration', async (t) => {
  const service = await startService(t, { config: config(OLD) });
  for (let i = 0; i < 5; i++) process.kill(service.pid, 'SIGHUP');
  await service.reload(config(NEW));
  await until(async () => (await mayPush(service, NEW)) === 200, 'the newest configuration to hold');
  assert.equal(await mayPush(service, OLD), 401);
});
