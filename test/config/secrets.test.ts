// What is kept in files of its own: read whole, checked, and never told.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { digestOf, loadSecrets, type Secrets } from '../../lib/config/secrets.ts';
import { isCacheError } from '../../lib/errors.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { makeAuthority } from '../fixtures/tls.ts';

const TOKEN = 'hunter2-hunter2-hunter2';
const authority = makeAuthority();
const [leaf, other] = [authority.issue('DNS:cache.test'), authority.issue('DNS:cache.test')];

/** The secrets of this configuration, with these files beside it. */
async function load(t: TestContext, toml: string, files: Record<string, string> = {}): Promise<Secrets> {
  const folder = await temporaryFolder(t);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  await mkdir(join(folder, 'folder'));
  return loadSecrets(parseConfig(toml, { file: join(folder, 'cache.toml') }));
}

/** The message with which that fails. */
async function mistake(...args: Parameters<typeof load>): Promise<string> {
  let message = '';
  await assert.rejects(load(...args), (error: Error) => {
    assert.ok(isCacheError(error, 'config'), String(error));
    message = error.message;
    assert.ok(!`${message} ${error.cause} ${JSON.stringify(error)}`.includes('hunter2'), message);
    for (const { key } of [leaf, other]) assert.ok(!message.includes(key.slice(30, 60)), message);
    return true;
  });
  return message;
}

const inFile = (file = 'token') =>
  `[[tokens]]\nname = "ci"\ntoken_file = "${file}"\nallow = ["push", "pull"]\n`;
const inText = (name: string) => `[[tokens]]\nname = "${name}"\ntoken = "${TOKEN}"\nallow = ["pull"]\n`;

test('no secrets are none', async (t) => {
  assert.deepEqual(await load(t, ''), { tokens: [], signers: [], tls: undefined });
});

test('a token is known by its digest alone, from a file without the white space around it', async (t) => {
  for (const text of [TOKEN, `${TOKEN}\n`, ` \t${TOKEN}\r\n\n`]) {
    const { tokens } = await load(t, inFile(), { token: text });
    assert.deepEqual(tokens, [{ name: 'ci', digest: digestOf(TOKEN), allow: ['push', 'pull'] }]);
  }
  const { tokens } = await load(t, inText('a'));
  assert.deepEqual(tokens, [{ name: 'a', digest: digestOf(TOKEN), allow: ['pull'] }]);
  assert.ok(!JSON.stringify(tokens).includes('hunter2'));
});

test('a file of a token that is missing, empty, short, long or of two words is told by name', async (t) => {
  assert.match(await mistake(t, inFile()), /^token_file of ci, .*token: .*ENOENT/);
  assert.match(await mistake(t, inFile('folder')), /^token_file of ci, .*EISDIR/);
  for (const token of [
    '',
    '\n',
    'hunter2',
    `${TOKEN} ${TOKEN}`,
    `${TOKEN}\0`,
    `ü${TOKEN}`,
    TOKEN.repeat(30),
  ]) {
    assert.match(await mistake(t, inFile(), { token }), /token_file of ci.*found a token of \d+ characters/);
  }
});

test('one token under two names is a mistake, wherever they come from', async (t) => {
  assert.match(await mistake(t, inText('a') + inText('b')), /^tokens a and b are the same/);
  assert.match(
    await mistake(t, inText('a') + inFile(), { token: `${TOKEN}\n` }),
    /^tokens a and ci are the same/,
  );
});

const TLS = '[tls]\ncert_file = "cert"\nkey_file = "key"\n';
const WITH_CA = `${TLS}client_ca_file = "ca"\n`;

test('a certificate and its key, with and without authorities for clients', async (t) => {
  const files = { ...{ cert: leaf.cert, key: leaf.key }, ca: authority.ca };
  assert.deepEqual((await load(t, TLS, files)).tls, { cert: leaf.cert, key: leaf.key, clientCa: undefined });
  assert.deepEqual((await load(t, WITH_CA, files)).tls?.clientCa, authority.ca);
});

test('what is no certificate, no key, or not its key is told by the name of the file', async (t) => {
  const good = { cert: leaf.cert, key: leaf.key, ca: authority.ca };
  const cases: [Record<string, string>, RegExp][] = [
    [{ key: leaf.key }, /^tls\.cert_file, .*ENOENT/],
    [{ cert: leaf.cert }, /^tls\.key_file, .*ENOENT/],
    [{ ...good, cert: 'hunter2' }, /^tls\.cert_file, .*expected PEM/],
    [{ ...good, key: 'hunter2' }, /^tls\.key_file, .*expected PEM/],
    [{ ...good, key: other.key }, /expected a certificate and its key/],
    [{ ...good, cert: leaf.key, key: leaf.cert }, /expected a certificate and its key/],
    [{ ...good, key: leaf.key.slice(0, 100) }, /expected a certificate and its key/],
    [{ ...good, cert: leaf.cert.slice(0, 100) }, /expected a certificate and its key/],
    [{ ...good, ca: '' }, /^tls\.client_ca_file, .*expected PEM/],
    [{ ...good, ca: authority.ca.slice(0, 100) }, /client_ca_file/],
    [{ ...good, ca: leaf.key }, /client_ca_file/],
  ];
  for (const [files, message] of cases) assert.match(await mistake(t, WITH_CA, files), message);
});
