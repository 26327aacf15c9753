// Real reverse proxies on this machine: whoever comes through one has to show a token. Section 8 of docs/protocol.md, 79.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, put } from '../../fixtures/client.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { projectRoot } from '../../fixtures/project.ts';
import { storedFiles } from '../../fixtures/stored-files.ts';
import { basic, bearer } from '../../fixtures/tokens.ts';
import { need } from '../fixtures/need.ts';
import { reverseProxies, startReverseProxy } from '../fixtures/reverse-proxy.ts';

const one = makePackage('behind', { size: 50_000 });
const TRUSTED = 'trusted_proxies = ["127.0.0.1"]\n';
const FROM = '[push]\nfrom = ["127.0.0.1", "::1"]\n';

for (const proxy of reverseProxies) {
  const skip = need(proxy.program);
  for (const setup of ['defaults', 'recommended'] as const) {
    test(`79: upload through ${proxy.name} (${setup}) from loopback, without a token → 401`, {
      skip,
    }, async (t) => {
      const service = await startTestService(t, { closed: true });
      const url = await startReverseProxy(t, proxy, Number(new URL(service.url).port), setup);
      for (const toml of ['', TRUSTED]) {
        await service.reload(toml);
        for (const headers of [{}, { 'x-forwarded-for': '127.0.0.1' }, { expect: '100-continue' }]) {
          for (const [path, body] of [
            [one.narPath, one.file],
            [one.narInfoPath, one.narInfo],
          ] as const)
            assert.equal((await put(url, path, body, headers)).status, 401, JSON.stringify(headers));
        }
        assert.equal((await storedFiles(service.dir, true)).size, 0);
      }
      const text = await readFile(join(service.dir, 'push.netrc'), 'utf8');
      const token = /password (\w{48})/.exec(text)?.[1] ?? '';
      assert.equal((await put(url, one.narPath, one.file, basic(token))).status, 200);
      assert.equal((await put(url, one.narInfoPath, one.narInfo, bearer(token))).status, 200);
      assert.equal((await get(url, one.narInfoPath)).text, one.narInfo);
      assert.ok((await get(url, one.narPath)).body.equals(one.file));
      const part = await get(url, one.narPath, { headers: { range: 'bytes=40000-' } });
      assert.equal(part.status, 206);
      assert.ok(part.body.equals(one.file.subarray(40_000)));

      // What the log says of [push] from with loopback is so.
      await service.reload(FROM);
      await service.logged(/whoever comes through a reverse proxy on it/);
      const pushes = async () => (await put(url, one.narPath, one.file)).status;
      assert.equal(await pushes(), proxy.speaksUp[setup] ? 401 : 200);
      // With the proxy among those that are trusted to name their client, one that names none is let in no more.
      await service.reload(`${TRUSTED}${FROM}`);
      assert.equal(await pushes(), 401);
      assert.equal((await put(service.url, one.narPath, one.file)).status, 401, 'nor past it');
    });
  }
}

test('what the documents recommend is what was tried', async () => {
  const text = await readFile(join(projectRoot, 'docs/reverse-proxies.md'), 'utf8');
  for (const { name, recommended } of reverseProxies) {
    assert.ok(text.toLowerCase().includes(name.toLowerCase()), name);
    for (const line of recommended) assert.ok(text.includes(line), `${name}: ${line}`);
  }
});
