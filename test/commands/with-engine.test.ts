import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { defer, temporaryFolder } from '../fixtures/defer.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { makePackage } from '../fixtures/nar.ts';
import { patiently } from '../fixtures/patience.ts';
import { program } from '../fixtures/project.ts';
import { gated, startUpstream, whole } from '../fixtures/upstream.ts';

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} ends an export in good order, and says how to go on`, async (t) => {
    const upstream = await startUpstream(t);
    const one = makePackage('one', { size: 3_000_000 });
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, gated(one.file).handler);
    const holdings = await Holdings.create(t);
    const cwd = await temporaryFolder(t);
    await writeFile(join(cwd, 'cache.toml'), `[[upstreams]]\nurl = "${upstream.url}"\n`);
    const args = [program, 'export', '--cache-dir', holdings.dir, join(cwd, 'stick'), one.storePath];
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = once(child, 'close');
    defer(t, async () => {
      child.kill('SIGKILL');
      await ended;
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await upstream.asked(one.narPath);
    child.kill(signal);
    await patiently(ended, 'the export to end');
    assert.equal(child.exitCode, 1, said);
    assert.match(said, /^nix-binary-cache: interrupted; run it again to go on\n$/m);
    assert.deepEqual(await readdir(join(cwd, 'stick', 'nar')), []);
    assert.deepEqual(await readdir(join(holdings.dir, 'tmp')), []);
  });
}
