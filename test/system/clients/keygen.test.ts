// Nix and the service take each other's keys.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readSecretKey } from '../../../lib/nix/signature.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { program } from '../../fixtures/project.ts';
import { output } from '../../fixtures/run.ts';
import { need } from '../fixtures/need.ts';

const NAME = 'cache.example.org-1';

test('Nix makes the same public key of it; its own keys are as long as ours', {
  skip: need('nix', 'nix-store'),
}, async (t) => {
  const folder = await temporaryFolder(t);
  await output(process.execPath, [program, 'keygen', NAME], { cwd: folder });
  const read = (kind: string) => readFile(join(folder, `${NAME}.${kind}`), 'utf8');
  const [secret, publicKey] = [await read('secret'), await read('public')];
  const convert = 'nix --extra-experimental-features nix-command key convert-secret-to-public <"$0"';
  const env = { ...process.env, HOME: folder };
  const converted = await output('sh', ['-c', convert, join(folder, `${NAME}.secret`)], { env });
  assert.equal(converted.trim(), publicKey);
  const files = ['theirs.secret', 'theirs.public'].map((name) => join(folder, name)) as [string, string];
  await output('nix-store', ['--generate-binary-cache-key', NAME, ...files], { env });
  const [theirs, theirPublic] = [await readFile(files[0], 'utf8'), await readFile(files[1], 'utf8')];
  assert.deepEqual([theirs.length, theirPublic.length], [secret.length, publicKey.length]);
  assert.equal(readSecretKey(theirs).publicKey, theirPublic);
});
