// Real clients substitute through the service what an upstream has: signed, once, and then without it.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { get } from '../../fixtures/client.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { field } from '../../fixtures/nar.ts';
import { type Relay, startRelay } from '../../fixtures/relay.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder } from '../fixtures/nginx.ts';
import { type Client, clients, type Machine } from './client.ts';
import { assertHolds, assertLacks, buildClosure, type Closure } from './closure.ts';

/** The URL in narinfos that were served before, from the one of today. */
const FORMER: Record<string, (narInfo: string) => string> = {
  'with ?hash=': (narInfo) => {
    const [, hash, name] = /^nar\/(\w{32})-(.*)$/.exec(field(narInfo, 'URL')) ?? [];
    return `nar/${name}?hash=${hash}`;
  },
  'by its NarHash alone': (narInfo) => `nar/${field(narInfo, 'NarHash').slice('sha256:'.length)}.nar.zst`,
};

describe('substitution through the service', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name } = client;
    const skip = client.skip || need('nginx');

    test(`${name} substitutes a signed closure, again with the upstream dead, again after a restart`, {
      skip,
    }, async (t) => {
      const { upstream, closure, key } = await startUpstream(t, client, 10, 'compression=xz');
      const service = await startService(t, { config: `connections = 1\n${upstreams(upstream)}` });
      await substitute(t, client, service, closure, key);
      await upstream.stop();
      await substitute(t, client, service, closure, key);
      assert.equal(await service.stop(), 0);
      const restarted = await startService(t, { config: upstreams(upstream), dir: service.dir });
      await substitute(t, client, restarted, closure, key);

      const fetched = upstream.requests.filter((request) => request.startsWith('GET /nar/'));
      assert.equal(new Set(fetched).size, closure.paths.size);
      assert.equal(fetched.length, closure.paths.size, `fetched more than once: ${fetched.join(', ')}`);
    });

    test(`${name} refuses a closure by a key it does not trust, through the service too`, {
      skip,
    }, async (t) => {
      const { upstream, closure } = await startUpstream(t, client, 1);
      const { key: stranger } = await startUpstream(t, client, 1);
      const service = await startService(t, { config: upstreams(upstream) });
      const machine = await client.machine(t);
      const { code, stderr } = await machine.run(realise(closure, service.url, stranger));
      assert.notEqual(code, 0);
      assert.match(stderr, /not signed/);
      await assertLacks(machine, closure);
    });

    for (const compression of ['none', 'zstd', 'bzip2', 'br']) {
      test(`${name} substitutes what the upstream compressed with ${compression}`, { skip }, async (t) => {
        const { upstream, closure, key } = await startUpstream(t, client, 4, `compression=${compression}`);
        const service = await startService(t, { config: upstreams(upstream) });
        await substitute(t, client, service, closure, key);
      });
    }

    test(`two of ${name} at once on a cold closure are one download of each path`, { skip }, async (t) => {
      const { upstream, closure, key } = await startUpstream(t, client, 8);
      // A large one would be several requests for its parts.
      const service = await startService(t, { config: `connections = 1\n${upstreams(upstream)}` });
      await Promise.all([1, 2].map(() => substitute(t, client, service, closure, key)));
      const asked = upstream.requests.filter((request) => !request.endsWith('/nix-cache-info'));
      assert.deepEqual([...asked].sort(), [...new Set(asked)].sort());
    });

    test(`${name} substitutes from whichever upstream has it`, { skip }, async (t) => {
      const [one, two] = [await startUpstream(t, client, 1), await startUpstream(t, client, 2)];
      const service = await startService(t, { config: upstreams(one.upstream, two.upstream) });
      await substitute(t, client, service, two.closure, two.key);
      await substitute(t, client, service, one.closure, one.key);
    });

    test(`${name} does not push again what the upstream has`, { skip }, async (t) => {
      const { upstream, closure, builder } = await startUpstream(t, client, 1);
      const service = await startService(t, { config: upstreams(upstream) });
      await builder.output('nix', 'copy', '--to', service.url, closure.top);
      assert.deepEqual(
        upstream.requests.filter((request) => request.includes('/nar/')),
        [],
      );
    });

    for (const [loss, keepsFolder] of [
      ['a restart', true],
      ['a restart that lost the folder', false],
    ] as const) {
      test(`${name} that knows a narinfo asks for the NAR alone, after ${loss}`, { skip }, async (t) => {
        const { upstream, closure, key } = await startUpstream(t, client, 1);
        const config = upstreams(upstream);
        const before = await startService(t, { config });
        let port = before.port;
        const relay = await startRelay(t, () => connect({ port, host: '127.0.0.1', allowHalfOpen: true }));
        const machine = await client.machine(t);
        for (const path of closure.paths.keys())
          await machine.output('nix', 'path-info', '--store', relay.url, path);
        assert.equal(await before.stop(), 0);

        const after = await startService(t, keepsFolder ? { config, dir: before.dir } : { config });
        port = after.port;
        relay.requests.length = 0;
        await machine.output(...realise(closure, relay.url, key));
        await assertHolds(machine, closure);
        assert.equal(relay.requests.length, closure.paths.size);
        for (const request of relay.requests)
          assert.match(request, /^GET \/nar\/[0-9a-z]{32}-[0-9a-z]{52}\.nar(\.\w+)?$/);
      });
    }

    for (const [how, former] of Object.entries(FORMER)) {
      test(`${name} that remembers a NAR ${how}, of an upstream that names it by its NarHash, gets it`, {
        skip,
      }, async (t) => {
        const { folder, closure, key } = await makeUpstream(t, client, 1, 'compression=zstd');
        await nameByNarHash(folder);
        const service = await startService(t, { config: upstreams(await serveFolder(t, folder)) });
        // What it has in its cache is from before: only narinfos are changed on their way.
        const front = await startFront(t, service, former);
        const machine = await client.machine(t);
        for (const path of closure.paths.keys())
          await machine.output('nix', 'path-info', '--store', front.url, path);
        front.requests.length = 0;
        await machine.output(...realise(closure, front.url, key));
        await assertHolds(machine, closure);
        assert.equal(front.requests.length, closure.paths.size);
        for (const request of front.requests) assert.match(request, /^\/nar\/[0-9a-z]{52}\.nar\.zst/);
        await substitute(t, client, service, closure, key);
      });
    }

    test(`${name} substitutes from a folder that the Go service left`, { skip }, async (t) => {
      const { folder, closure, key } = await makeUpstream(t, client, 2, 'compression=xz');
      const dir = await temporaryFolder(t, 'go');
      for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const file = join(entry.parentPath, entry.name);
        const path = `/${relative(folder, file)}`;
        await copyFile(file, join(dir, createHash('sha256').update(path).digest('hex')));
      }
      await substitute(t, client, await startService(t, { dir }), closure, key);
    });

    test(`${name} builds what no upstream has`, { skip }, async (t) => {
      const { upstream } = await startUpstream(t, client, 1);
      const service = await startService(t, { config: upstreams(upstream) });
      const machine = await client.machine(t);
      await assertHolds(machine, await buildClosure(machine, 2, '--option', 'substituters', service.url));
    });
  }
});

/** The service, whose narinfos have another URL; and what was asked of it. */
async function startFront(
  t: Owner,
  service: Service,
  former: (narInfo: string) => string,
): Promise<{ readonly url: string; readonly requests: string[] }> {
  const requests: string[] = [];
  const server = createServer(async ({ url = '' }, response) => {
    requests.push(url);
    const { body, status, text } = await get(service.url, url);
    const isNarInfo = status === 200 && url.endsWith('.narinfo');
    const sent = isNarInfo ? text.replace(/^URL: .*$/m, () => `URL: ${former(text)}`) : body;
    response.writeHead(status, { 'Content-Length': Buffer.byteLength(sent) }).end(sent);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  defer(t, () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

/** Renames the NARs of a folder as cache.nixos.org does since June 2026. */
async function nameByNarHash(folder: string): Promise<void> {
  for (const name of (await readdir(folder)).filter((one) => one.endsWith('.narinfo'))) {
    const file = join(folder, name);
    const text = await readFile(file, 'utf8');
    const url = `nar/${field(text, 'NarHash').slice('sha256:'.length)}.nar.zst`;
    await copyFile(join(folder, field(text, 'URL')), join(folder, url));
    await rm(join(folder, field(text, 'URL')));
    await writeFile(file, text.replace(/^URL: .*$/m, `URL: ${url}`));
  }
}

interface Folder {
  readonly folder: string;
  readonly closure: Closure;
  /** The public key of its signatures. */
  readonly key: string;
  /** The machine that built it. */
  readonly builder: Machine;
}

/** A binary cache folder as `nix copy` makes it, with a signed closure. */
async function makeUpstream(
  t: Owner,
  client: Client,
  megabytes: number,
  settings = 'compression=none',
): Promise<Folder> {
  const builder = await client.machine(t);
  const closure = await buildClosure(builder, megabytes);
  await builder.output('nix-store', '--generate-binary-cache-key', 'test-1', '/root/secret', '/root/public');
  const key = await builder.output('cat', '/root/public');
  await builder.output('nix', 'copy', '--to', `file:///srv?secret-key=/root/secret&${settings}`, closure.top);
  return { folder: builder.path('/srv'), closure, key, builder };
}

/** The same, served by nginx. */
async function startUpstream(
  ...[t, client, megabytes, settings]: Parameters<typeof makeUpstream>
): Promise<Folder & { readonly upstream: Relay }> {
  const made = await makeUpstream(t, client, megabytes, settings);
  return { ...made, upstream: await serveFolder(t, made.folder) };
}

/** The configuration with these upstreams, in order. */
function upstreams(...list: Relay[]): string {
  return list.map(({ url }) => `[[upstreams]]\nurl = "${url}"\n`).join('\n');
}

/** The command that makes the closure's top from that cache, with signatures checked against that key. */
function realise(closure: Closure, url: string, key: string): string[] {
  const options = ['--option', 'substituters', url, '--option', 'trusted-public-keys', key];
  return ['nix-store', '--realise', closure.top, ...options];
}

/** A new machine substitutes the closure through the service. */
async function substitute(t: Owner, client: Client, service: Service, closure: Closure, key: string) {
  const machine = await client.machine(t);
  await machine.output(...realise(closure, service.url, key));
  await assertHolds(machine, closure);
}
