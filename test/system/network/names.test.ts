// Upstreams whose names are looked up slowly, wrongly or not at all, by the system's own resolver. This file runs itself once
// more in a network and with a resolv.conf of its own, in which a name server of the test answers.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { get } from '../../fixtures/client.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { startNameServer } from '../../fixtures/name-server.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { run } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { startUpstream, type TestUpstream, whole } from '../../fixtures/upstream.ts';
import { needRoot } from '../fixtures/need-root.ts';

const INSIDE = 'NIX_BINARY_CACHE_TEST_NAMES';
const SCRIPT = `ip link set lo up && ip addr add 198.18.0.7/32 dev lo &&
  mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf && exec "$2" "$3"`;

/** By another name of the machine that it is on. */
const named = ({ url }: TestUpstream, name: string) => url.replace('127.0.0.1', name);

if (process.env[INSIDE] === undefined) {
  test('names that are slow, silent, failing, unknown or of a tunnel', {
    skip: needRoot('unshare', 'ip', 'mount'),
    timeout: 240_000,
  }, async (t) => {
    const folder = await temporaryFolder(t, 'names');
    await writeFile(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n');
    await writeFile(join(folder, 'nsswitch.conf'), 'hosts: files dns\n');
    const env: NodeJS.ProcessEnv = { ...process.env, [INSIDE]: '1' };
    // Or it would report to the one that runs this.
    delete env.NODE_TEST_CONTEXT;
    const args = ['--net', '--mount', 'sh', '-c', SCRIPT, 'sh', folder, process.execPath];
    const { code, stdout, stderr } = await run('unshare', [...args, fileURLToPath(import.meta.url)], { env });
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.match(stdout, /^# pass 8$/m, stdout);
  });
} else {
  const packages = Array.from({ length: 25 }, (_, index) => makePackage(`one-${index}`));
  const startFull = async (t: Parameters<typeof startUpstream>[0]) => {
    const upstream = await startUpstream(t);
    for (const one of packages) {
      upstream.on(one.narInfoPath, whole(one.narInfo));
      upstream.on(one.narPath, whole(one.file));
    }
    return upstream;
  };
  const deadlines = { connectMs: 5000, firstByteMs: 5000, stallMs: 5000 };

  test('a second for each answer: many narinfos at once are served, and one question is asked', async (t) => {
    const { asked } = await startNameServer(t);
    const upstream = await startFull(t);
    const upstreams = [named(upstream, 'slow-1.test')];
    const service = await startTestService(t, { upstreams, deadlines: { ...deadlines, connectMs: 3000 } });
    const replies = await Promise.all(packages.map((one) => get(service.url, one.narInfoPath)));
    for (const reply of replies) assert.equal(reply.status, 200);
    const nars = replies.map(({ text }) => get(service.url, `/${field(text, 'URL')}`));
    for (const [index, { body }] of (await Promise.all(nars)).entries())
      assert.deepEqual(body, packages[index]?.file);
    assert.equal(asked.filter((name) => name === 'slow-1.test').length, 1);
    assert.ok(!service.log.some((line) => line.includes('believed dead')));
  });

  test('a first upstream whose name gets no answer holds up no other', async (t) => {
    await startNameServer(t);
    const upstream = await startFull(t);
    const dead = ['silent-1.test', 'silent-2.test', 'silent-3.test'].map((name) => named(upstream, name));
    const upstreams = [...dead, named(upstream, 'slow-2.test')];
    const config = { hedgeDelayMs: 300 };
    const service = await startTestService(t, { upstreams, deadlines, config });
    const started = performance.now();
    const replies = await Promise.all(packages.map((one) => get(service.url, one.narInfoPath)));
    for (const reply of replies) assert.equal(reply.status, 200);
    for (const [index, reply] of replies.entries()) {
      const { body } = await get(service.url, `/${field(reply.text, 'URL')}`);
      assert.deepEqual(body, packages[index]?.file);
    }
    // The system's resolver alone takes ten seconds for each of the silent names.
    assert.ok(performance.now() - started < 9000, `${performance.now() - started} ms`);
  });

  test('an unknown name and failing name servers are failures, never a miss, and the log has the name', async (t) => {
    await startNameServer(t);
    const upstream = await startFull(t);
    const [one] = packages;
    for (const name of ['unknown-1.test', 'failing-1.test']) {
      const alone = await startTestService(t, { upstreams: [named(upstream, name)], deadlines });
      const reply = await get(alone.url, one?.narInfoPath ?? '');
      assert.equal(reply.status, 502, name);
      assert.ok(
        alone.log.some((line) => line.includes(`the name ${name} `)),
        alone.log.join('\n'),
      );
      const upstreams = [named(upstream, name), upstream.url];
      const both = await startTestService(t, { upstreams, deadlines });
      assert.equal((await get(both.url, one?.narInfoPath ?? '')).status, 200, name);
    }
  });

  test('names that only the system can resolve: where name servers refuse to say, or none is there', async (t) => {
    const server = await startNameServer(t);
    const upstream = await startFull(t);
    const before = await readFile('/etc/resolv.conf', 'utf8');
    t.after(() => writeFile('/etc/resolv.conf', before));
    for (const [resolvConf, name] of [
      // The search list is the system's, and the name server refuses names without a dot.
      ['nameserver 127.0.0.1\nsearch domain.test\n', 'short'],
      // There is nobody at this port, which the system's resolver does not understand: it asks this machine then.
      ['nameserver [127.0.0.1]:1\n', 'elsewhere-1.test'],
    ] as const) {
      await writeFile('/etc/resolv.conf', resolvConf);
      const service = await startTestService(t, { upstreams: [named(upstream, name)], deadlines });
      const { status } = await get(service.url, packages[0]?.narInfoPath ?? '');
      assert.equal(status, 200, `${name}: ${server.asked} ${service.log.join('\n')}`);
    }
  });

  test('a silent name alone is a failure in time', async (t) => {
    await startNameServer(t);
    const upstream = await startFull(t);
    const upstreams = [named(upstream, 'silent-4.test')];
    const service = await startTestService(t, { upstreams, deadlines: { ...deadlines, connectMs: 500 } });
    for (const { narInfoPath } of packages.slice(0, 4)) {
      const reply = await get(service.url, narInfoPath);
      assert.ok(reply.status === 504 || reply.status === 502, `${reply.status}`);
    }
  });

  test('what was looked up before serves while the name server is slow', async (t) => {
    const server = await startNameServer(t);
    const upstream = await startFull(t);
    const service = await startTestService(t, { upstreams: [named(upstream, 'moves-1.test')], deadlines });
    assert.equal((await get(service.url, packages[0]?.narInfoPath ?? '')).status, 200);
    assert.equal((await get(service.url, packages[1]?.narInfoPath ?? '')).status, 200);
    assert.equal(server.asked.filter((name) => name === 'moves-1.test').length, 1);
  });

  test('a stop does not wait for name servers', async (t) => {
    const { asked } = await startNameServer(t);
    const upstream = await startFull(t);
    const config = ['silent-5.test', 'silent-6.test', 'silent-7.test']
      .map((name) => `[[upstreams]]\nurl = "${named(upstream, name)}"\n`)
      .join('');
    const service = await startService(t, { config });
    const leaving = new AbortController();
    const asking = fetch(`${service.url}${packages[0]?.narInfoPath}`, { signal: leaving.signal });
    await until(() => asked.includes('silent-5.test'), 'a question for the name');
    leaving.abort();
    await assert.rejects(asking);
    const started = performance.now();
    assert.equal(await service.stop(), 0);
    // The system's resolver goes on for ten seconds.
    assert.ok(performance.now() - started < 4000, `${performance.now() - started} ms`);
  });

  test('a name may lead to the address of a tunnel, also in a redirect; a redirect may not name one', async (t) => {
    await startNameServer(t);
    const [one, two, three] = packages as [Package, Package, Package];
    const hosts = new Map([
      [one.narInfoPath, 'fake-2.test'],
      [two.narInfoPath, '198.18.0.7'],
      [three.narInfoPath, 'inside.test'],
    ]);
    let port = 0;
    const server = createServer((request, response) => {
      const host = hosts.get(request.url ?? '');
      if (host !== undefined) response.writeHead(302, { location: `http://${host}:${port}/there` }).end();
      else if (request.url === '/there') response.end(one.narInfo);
      else response.writeHead(404).end();
    });
    // At every address of this network.
    server.listen(0, '0.0.0.0');
    await once(server, 'listening');
    t.after(() => server.close());
    port = (server.address() as AddressInfo).port;
    const service = await startTestService(t, { upstreams: [`http://fake-1.test:${port}`], deadlines });
    assert.equal((await get(service.url, one.narInfoPath)).status, 200);
    for (const { narInfoPath } of [two, three])
      assert.equal((await get(service.url, narInfoPath)).status, 502);
    assert.equal(
      service.log.filter((line) => /private network/.test(line)).length >= 2,
      true,
      service.log.join('\n'),
    );
  });
}
