// What is fetched anew, and what need not be.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createRepairer } from '../../lib/check/repair.ts';
import { parseConfig } from '../../lib/config/config.ts';
import { createEngine } from '../../lib/engine.ts';
import type { NarName } from '../../lib/nix/object-name.ts';
import { defer, temporaryFolder } from '../fixtures/defer.ts';
import { makePackage } from '../fixtures/nar.ts';
import { putBeside } from '../fixtures/put-beside.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

test('what a service has fetched since it was set aside is there, whatever the upstreams say now', async (t) => {
  const upstream = await startUpstream(t);
  const one = makePackage('set-aside');
  const dir = await temporaryFolder(t);
  const toml = `cache_dir = "${dir}"\n[[upstreams]]\nurl = "${upstream.url}"\n`;
  const config = parseConfig(toml, { file: join(dir, 'cache.toml') });
  const { signal } = new AbortController();
  const nobody = { tokens: [], signers: [], tls: undefined };
  const engine = await createEngine(config, nobody, () => {}, { signal, now: () => 0 });
  defer(t, () => engine.close());
  const name = { kind: 'nar', name: one.narPath.slice(5) as NarName, hash: undefined } as const;
  const repairer = createRepairer(engine, signal);
  assert.equal(await repairer.fetch(name), 'no upstream has it');
  await putBeside(dir, one.narPath, one.file, upstream.url);
  const asked = upstream.count();
  assert.equal(await repairer.fetch(name), undefined);
  assert.equal(upstream.count(), asked);
  await engine.store.delete(one.narPath);
  upstream.on(one.narPath, whole(one.file));
  assert.equal(await repairer.fetch(name), undefined);
  assert.ok((await engine.store.version(one.narPath)) !== undefined);
});
