import assert from 'node:assert/strict';
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { connectTcp } from '../../lib/upstream/tcp.ts';
import { startSilence } from '../fixtures/upstreams.ts';

test('a name that has come to mean this machine is connected to only where private networks may be', async (t) => {
  const { port, sockets } = await startSilence(t);
  const lookup = (_host: string, options: dns.LookupAllOptions, callback: (...found: unknown[]) => void) =>
    options.all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4);
  t.mock.method(dns, 'lookup', lookup as unknown as typeof dns.lookup);
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const { signal } = new AbortController();
  const step = { doing: 'connecting', code: 'upstream', late: 'timeout', signal } as const;
  const target = { host: 'rebound.example.org', port };
  await assert.rejects(
    connectTcp({ ...target, onlyPublic: true }, step),
    (error) => isCacheError(error, 'upstream') && /private network/.test(error.message),
  );
  assert.equal(sockets.total, 0);
  (await connectTcp(target, step)).destroy();
});
