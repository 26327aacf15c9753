// The folder's push.netrc: made once, whole, for its owner alone; read as curl reads it.
import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { CacheError, isCacheError } from '../../../lib/errors.ts';
import { makePushNetrc, pushNetrcIn, readPushNetrc } from '../../../lib/store/folder/push-netrc.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';

const SECRET = 'hunter2-hunter2-hunter2';

test('it has a line for each name of this machine, IPv6 without brackets, and nobody else reads it', async (t) => {
  const folder = await temporaryFolder(t);
  assert.equal(await readPushNetrc(folder), undefined);
  await makePushNetrc(folder, undefined);
  const text = await readFile(pushNetrcIn(folder), 'utf8');
  const secret = /password (\w{48})\n/.exec(text)?.[1] ?? '';
  const lines = ['localhost', '127.0.0.1', '::1'].map(
    (name) => `machine ${name} login push password ${secret}\n`,
  );
  assert.equal(text, lines.join(''));
  assert.equal((await stat(pushNetrcIn(folder))).mode & 0o7777, 0o600);
  assert.deepEqual(await readPushNetrc(folder), { secret, exposed: false });
  assert.deepEqual(await readdir(join(folder, 'tmp')), [], 'nothing else is left');
  await makePushNetrc(folder, undefined);
  assert.equal((await readPushNetrc(folder))?.secret, secret, 'what is there stays');
});

test('two services that start at once have one token', async (t) => {
  const folder = await temporaryFolder(t);
  const seen = await Promise.all(
    Array.from({ length: 8 }, async () => {
      await makePushNetrc(folder, '192.0.2.1');
      return (await readPushNetrc(folder))?.secret;
    }),
  );
  assert.equal(new Set(seen).size, 1);
  assert.match(await readFile(pushNetrcIn(folder), 'utf8'), /^machine 192\.0\.2\.1 login /m);
});

test('whatever an operator writes into it that curl reads is read', async (t) => {
  for (const text of [
    `machine localhost login push password ${SECRET}`,
    `machine localhost\n\tlogin x\n\tpassword ${SECRET}\n`,
    `machine cache.example.org login a password another-password-0\nmachine ::1 password ${SECRET}\n`,
    `machine localhost login password password ${SECRET}\ndefault login a password other-other-other\n`,
    `machine localhost password ${SECRET} machine 127.0.0.1 password ${SECRET}`,
    `machine localhost login push password ${SECRET}\r\n`,
  ]) {
    const folder = await temporaryFolder(t);
    await writeFile(pushNetrcIn(folder), text, { mode: 0o600 });
    assert.deepEqual(await readPushNetrc(folder), { secret: SECRET, exposed: false }, text);
    await chmod(pushNetrcIn(folder), 0o640);
    assert.equal((await readPushNetrc(folder))?.exposed, true);
  }
});

const DAMAGED: Record<string, RegExp> = {
  '': /found no password for localhost/,
  '\0\0\0\0': /found no password for localhost/,
  [SECRET]: /found no password for localhost/,
  [`machine cache.example.org password ${SECRET}`]: /found no password for localhost/,
  'machine localhost password': /found a token of 0 characters, expected 16 to 512/,
  'machine localhost password hunter2': /found a token of 7 characters, expected 16 to 512/,
  [`machine localhost password ${SECRET} machine ::1 password ${SECRET}x`]: /found several passwords/,
  ['machine localhost '.repeat(5000)]: /has 90000 bytes/,
};
for (const [text, expected] of Object.entries(DAMAGED)) {
  test(`damaged: ${JSON.stringify(text.slice(0, 70))}`, async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(pushNetrcIn(folder), text);
    await assert.rejects(readPushNetrc(folder), (error: Error) => {
      assert.ok(isCacheError(error, 'invalid') && expected.test(error.message), String(error));
      assert.ok(!`${error.message} ${error.cause}`.includes('hunter2'), error.message);
      return true;
    });
    await makePushNetrc(folder, undefined);
    assert.equal(await readFile(pushNetrcIn(folder), 'utf8'), text, 'it is not written over');
  });
}

test('a folder in its place, a link that leads nowhere and a folder that is gone are said', async (t) => {
  const taken = await temporaryFolder(t);
  await mkdir(pushNetrcIn(taken));
  await assert.rejects(readPushNetrc(taken), (error) => isCacheError(error, 'invalid'));
  const linked = await temporaryFolder(t);
  await symlink('nowhere', pushNetrcIn(linked));
  assert.equal(await readPushNetrc(linked), undefined);
  const file = join(await temporaryFolder(t), 'file');
  await writeFile(file, '');
  await assert.rejects(
    makePushNetrc(file, undefined),
    (error) =>
      error instanceof CacheError && error.code === 'storage' && error.message.includes('push.netrc'),
  );
});
