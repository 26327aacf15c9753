import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parseConfig } from '../lib/config/config.ts';
import { isCacheError } from '../lib/errors.ts';
import { startService } from '../lib/service.ts';
import { get } from './fixtures/client.ts';
import { defer, temporaryFolder } from './fixtures/defer.ts';
import { startTestService } from './fixtures/in-process.ts';
import { until } from './fixtures/patience.ts';
import { makeAuthority } from './fixtures/tls.ts';
import { basic, tokenTable } from './fixtures/tokens.ts';

test('TLS can not come while it runs, and nothing else of that configuration holds', async (t) => {
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
  const waiting = Promise.allSettled(Array.from({ length: 20 }, guess));
  await delay(100);
  await service.stop();
  for (const { status } of await waiting) assert.equal(status, 'rejected');
});

test('a second service on the same folder takes over when the first has ended, and a start that fails holds nothing', async (t) => {
  const service = await startTestService(t);
  const config = (port: number) => ({
    ...parseConfig('upstreams = []\n', { file: join(service.dir, '..', 'cache.toml') }),
    ...{ cacheDir: service.dir, listen: { host: '127.0.0.1', port } },
  });
  const log: string[] = [];
  const say = (message: string) => void log.push(message);
  const taken = Number(new URL(service.url).port);
  const second = startService(config(taken), { info: say, warn: say, error: say });
  await until(() => log.length > 0, 'the second one to wait');
  assert.match(log.join(), /^the service of process \d+ on .* has the cache folder; waiting for its end/);
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200, 'the first one serves meanwhile');
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  defer(t, () => other.close());
  await service.stop();
  const running = await second;
  assert.equal((await get(running.url, '/nix-cache-info')).status, 200);
  assert.equal(await running.stop(0), true);
  const { port } = other.address() as AddressInfo;
  await assert.rejects(
    startService(config(port), { info: say, warn: say, error: say }),
    /another program listens there/,
  );
  const last = await startService(config(0), { info: say, warn: say, error: say });
  assert.equal(await last.stop(0), true);
  assert.equal(log.length, 1 + log.filter((line) => !line.includes('has the cache folder')).length);
});
