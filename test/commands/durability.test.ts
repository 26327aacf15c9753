import assert from 'node:assert/strict';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { createEngine, openStorage } from '../../lib/engine.ts';
import type { Storage } from '../../lib/store/storage.ts';
import { storeBody } from '../../lib/store/store-body.ts';
import { temporaryFolder } from '../fixtures/defer.ts';

const emit = () => {};
const PUSHED = { when: 'always', durable: true } as const;

for (const durability of ['full', 'relaxed'] as const) {
  test(`commands keep to durability = "${durability}", with the service's engine and without`, async (t) => {
    const home = await temporaryFolder(t);
    const file = join(home, 'cache.toml');
    const config = parseConfig(`upstreams = []\ndurability = "${durability}"\n`, { file });
    await mkdir(config.cacheDir, { recursive: true });
    const handle = await open(home);
    const sync = t.mock.method(Object.getPrototypeOf(handle), 'sync', async () => {});
    await handle.close();
    const isSynced = async (storage: Storage) => {
      const before = sync.mock.callCount();
      const meta = { path: '/nar/x.nar', kind: 'nar', origin: 'push' } as const;
      await storeBody(storage, [Buffer.from('x')], () => meta, PUSHED);
      await storage.scratch.idle();
      return sync.mock.callCount() > before;
    };
    assert.equal(await isSynced(await openStorage(config, emit)), durability === 'full', 'verify, rm, pin');
    const secrets = { tokens: [], signers: [], tls: undefined };
    const { signal } = new AbortController();
    const engine = await createEngine(config, secrets, emit, { signal, now: () => 0 });
    assert.equal(await isSynced(engine), durability === 'full', 'import, export, serve');
    await engine.close();
  });
}
