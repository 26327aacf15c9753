// Section 8 of docs/protocol.md, 75 and 31: a real nginx that is away for a while and comes back, and real proxies that do so in the middle of a
// download.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { parseProxy } from '../../../lib/config/proxy.ts';
import { get, open } from '../../fixtures/client.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { deadPort } from '../../fixtures/origin.ts';
import { upstreamConfig } from '../../fixtures/upstream-config.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder, startNginx } from '../fixtures/nginx.ts';
import { makeFolder, type Running, start } from '../fixtures/real-proxy.ts';

const MIB = 2 ** 20;

/** A static cache of these. */
async function folderOf(t: TestContext, ...packages: Package[]): Promise<string> {
  const folder = await temporaryFolder(t, 'static');
  await mkdir(join(folder, 'nar'));
  await writeFile(join(folder, 'nix-cache-info'), 'StoreDir: /nix/store\n');
  for (const one of packages) {
    await writeFile(join(folder, one.narInfoPath), one.narInfo);
    await writeFile(join(folder, one.narPath), one.file);
  }
  return folder;
}

for (const beside of ['alone', 'before an incomplete mirror', 'behind an incomplete mirror']) {
  test(`75: nginx, ${beside}, is away for 70 s and back → no lookup later than 10 s after that is a miss, no NAR either`, {
    skip: need('nginx'),
  }, async (t) => {
    const packages = Array.from({ length: 12 }, (_, i) => makePackage(`away-${i}`, { size: 20_000 }));
    const address = `127.0.0.1:${await deadPort()}`;
    const folder = await folderOf(t, ...packages);
    const nginx = await startNginx(t, folder, address);
    const mirror = await serveFolder(t, await folderOf(t));
    const others = beside === 'alone' ? [] : [mirror.url];
    let ahead = 0;
    const service = await startTestService(t, {
      upstreams: beside.startsWith('behind')
        ? [...others, `http://${address}`]
        : [`http://${address}`, ...others],
      now: () => performance.now() + ahead,
    });
    const ask = (from: number, to: number) =>
      Promise.all(packages.slice(from, to).map(({ narInfoPath }) => get(service.url, narInfoPath)));
    const [before] = await ask(0, 1);
    await nginx.stop();
    // Those of a build that is under way; an incomplete mirror's "no" counts as soon as the other is known to be dead.
    await ask(0, 12);
    await service.logged(/believed dead/);
    for (const { status } of await ask(1, 4)) assert.equal(status, beside === 'alone' ? 502 : 404);
    ahead += 70_000;
    await ask(1, 4);
    await startNginx(t, folder, address);
    ahead += 10_000;
    const replies = await ask(0, 12);
    assert.deepEqual([...new Set(replies.map(({ status }) => status))], [200]);
    for (const [i, { text }] of [before as (typeof replies)[0], ...replies.slice(1)].entries()) {
      const nar = await get(service.url, `/${field(text, 'URL')}`);
      assert.ok(nar.status === 200 && nar.body.equals(packages[i]?.file as Buffer), `NAR ${i}`);
    }
  });
}

/** Real proxies that let everybody through. */
const PROXIES: Readonly<Record<string, (t: TestContext, port: number, to: number) => Promise<Running>>> = {
  tinyproxy: async (t, port, to) => {
    const config = join(makeFolder(t), 'tinyproxy.conf');
    await writeFile(config, `Listen 127.0.0.1\nPort ${port}\nTimeout 60\nConnectPort ${to}\n`);
    return start(t, 'tinyproxy', ['-d', '-c', config], [port]);
  },
  squid: async (t, port) => {
    const folder = makeFolder(t);
    const config = join(folder, 'squid.conf');
    const lines = [`http_port 127.0.0.1:${port}`, 'http_access allow all', 'visible_hostname squid.test'];
    const quiet = ['pid_filename none', 'access_log none', 'cache_log /dev/null', 'pinger_enable off'];
    await writeFile(config, `${[...lines, ...quiet, `coredump_dir ${folder}`].join('\n')}\n`);
    return start(t, 'squid', ['-N', '-d', '1', '-f', config], [port]);
  },
};

for (const [program, startProxy] of Object.entries(PROXIES)) {
  for (const connections of [1, 4]) {
    test(`31: ${program} is away for 3 s in the middle of a download over ${connections} connections → the client gets the whole, and little crosses twice`, {
      skip: need(program, 'nginx'),
      timeout: 120_000,
    }, async (t) => {
      const one = makePackage('large', { size: 12 * MIB });
      // So slow that nothing piles up between nginx and the service.
      const upstream = await serveFolder(t, await folderOf(t, one), 'limit_rate 2m;');
      const port = await deadPort();
      const proxy = await startProxy(t, port, Number(new URL(upstream.url).port));
      const through = upstreamConfig(upstream.url, { proxy: parseProxy(`http://127.0.0.1:${port}`) });
      const service = await startTestService(t, { upstreams: [through], config: { connections } });
      const { text } = await get(service.url, one.narInfoPath);
      const client = await open(service.url, `/${field(text, 'URL')}`);
      await client.atLeast(3 * MIB);
      await proxy.stop();
      await setTimeout(3000);
      await proxy.again();
      const { body, complete } = await client.finish();
      assert.ok(complete && body.equals(one.file));
      assert.ok(upstream.answered < one.file.length + 2 * MIB, `${upstream.answered} bytes crossed`);
    });
  }
}
