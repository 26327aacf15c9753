import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../lib/errors.ts';
import { get } from './fixtures/client.ts';
import { temporaryFolder } from './fixtures/defer.ts';
import { startTestService } from './fixtures/in-process.ts';
import { need } from './fixtures/need.ts';
import { makeAuthority } from './fixtures/tls.ts';

test('TLS can not come while it runs, and nothing else of that configuration holds', {
  skip: need('openssl'),
}, async (t) => {
  const folder = await temporaryFolder(t);
  const { cert, key } = makeAuthority().issue('IP:127.0.0.1');
  await writeFile(join(folder, 'cert'), cert);
  await writeFile(join(folder, 'key'), key);
  const service = await startTestService(t);
  const token = '[[tokens]]\nname = "a"\ntoken = "0123456789abcdef"\nallow = ["pull"]\n';
  const tls = `[tls]\ncert_file = "${folder}/cert"\nkey_file = "${folder}/key"\n`;
  await assert.rejects(
    service.reload(`read = "token"\n${token}${tls}`),
    (error) => isCacheError(error, 'config') && /only at a new start/.test(error.message),
  );
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200, 'without a token');
  await service.reload(`read = "token"\n${token}`);
  assert.equal((await get(service.url, '/nix-cache-info')).status, 401);
});
