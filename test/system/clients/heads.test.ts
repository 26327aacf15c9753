// Clients that ask by HEAD whether something is there.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get } from '../../fixtures/client.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { field, makePackage } from '../../fixtures/nar.ts';
import { output } from '../../fixtures/run.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { need } from '../fixtures/need.ts';

for (const [program, args] of Object.entries({
  wget: (url: string) => ['--no-config', '--spider', '--tries=1', url],
  rclone: (url: string) => {
    const slash = url.lastIndexOf('/');
    const [base, name] = [url.slice(0, slash + 1), url.slice(slash + 1)];
    return ['--config', '/dev/null', '--retries=1', 'copyto', `:http,url='${base}':${name}`, './copy'];
  },
})) {
  test(`84: ${program} asks for a NAR that is not here by HEAD, and finds it`, {
    skip: need(program),
  }, async (t) => {
    const one = makePackage('heads', { compression: 'xz', size: 100_000 });
    const upstream = await startUpstream(t);
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const url = field((await get(service.url, one.narInfoPath)).text, 'URL');
    const cwd = await temporaryFolder(t, program);
    // rclone asks a `?` in a name as `%3F`.
    for (const address of [
      url,
      `${one.narPath.slice(1)}${program === 'rclone' ? `?hash=${one.hash}` : ''}`,
    ]) {
      if (program === 'wget' && address !== url) continue;
      await output(program, args(`${service.url}/${address}`), { cwd, env: { ...process.env, HOME: cwd } });
    }
    if (program === 'rclone') assert.ok((await readFile(join(cwd, 'copy'))).equals(one.file));
    else assert.equal(upstream.count(one.narPath), 0);
  });
}
