import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { parseConfig } from '../lib/config/config.ts';
import { createEngine } from '../lib/engine.ts';
import { temporaryFolder } from './fixtures/defer.ts';

test('it is not closed before every body that was on its way into the store has come to its end', async (t) => {
  const config = parseConfig('upstreams = []', { file: join(await temporaryFolder(t), 'cache.toml') });
  const secrets = { tokens: [], signers: [], tls: undefined };
  const emit = () => {};
  const { signal } = new AbortController();
  const engine = await createEngine(config, secrets, emit, { signal, now: () => 0 });
  const spool = engine.scratch.spool();
  await spool.ready();
  let closed = false;
  const closing = engine.close().then(() => {
    closed = true;
  });
  for (let i = 0; i < 20; i++) await turn();
  assert.equal(closed, false);
  await spool.close();
  await closing;
});
