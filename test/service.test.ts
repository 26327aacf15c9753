import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { isCacheError } from '../lib/errors.ts';
import { get } from './fixtures/client.ts';
import { temporaryFolder } from './fixtures/defer.ts';
import { startTestService } from './fixtures/in-process.ts';
import { need } from './fixtures/need.ts';
import { makeAuthority } from './fixtures/tls.ts';
import { basic, tokenTable } from './fixtures/tokens.ts';

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

test('a stop does not wait for those who guess tokens, nor blame the disk for them', async (t) => {
  const service = await startTestService(t, {
    toml: `read = "token"\n${tokenTable('reader', '0123456789abcdef', 'pull')}`,
  });
  const guess = () => get(service.url, '/nix-cache-info', { headers: basic('wrong') });
  for (let i = 0; i < 11; i++) assert.equal((await guess()).status, 401);
  // Ten seconds' worth of waits.
  const waiting = Array.from({ length: 20 }, guess);
  await delay(100);
  await service.stop();
  for (const { status } of await Promise.allSettled(waiting)) assert.equal(status, 'rejected');
});
