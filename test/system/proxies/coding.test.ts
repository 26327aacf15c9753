// Section 8 of docs/protocol.md, 37: real web servers that code on the fly, as upstreams of plain NARs: without a length, and
// without parts of what they code.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { OFFERED } from '../../../lib/bytes/codings.ts';
import { get, open } from '../../fixtures/client.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { prose } from '../../fixtures/encoder.ts';
import { assertServed } from '../../fixtures/gated-nar.ts';
import { ca, identity } from '../../fixtures/http2.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { deadPort } from '../../fixtures/origin.ts';
import { type Relay, startRelay } from '../../fixtures/relay.ts';
import { writeCache } from '../../fixtures/static-cache.ts';
import { upstreamConfig } from '../../fixtures/upstream-config.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder, startNginx } from '../fixtures/nginx.ts';
import { startReverseProxy } from '../fixtures/reverse-proxy.ts';

const MIB = 2 ** 20;
const text = makePackage('text', { contents: prose(4 * MIB) });
const large = makePackage('large', { contents: prose(12 * MIB) });

/** Requests of this service carry Via, for which nginx does not code unless it is told to. */
const NGINX = 'gzip on; gzip_min_length 1; gzip_types *;';
const PROXIED = `${NGINX} gzip_proxied any;`;

async function folderOf(t: TestContext, ...packages: Package[]): Promise<string> {
  const folder = await temporaryFolder(t, 'coding');
  await writeCache(folder, packages);
  return folder;
}

async function start(t: TestContext, relay: Relay, one: Package) {
  const service = await startTestService(t, { upstreams: [relay.url] });
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  const before = relay.answered;
  return { service, path, came: () => relay.answered - before };
}

test('nginx with gzip → a fraction of the bytes, and all of the NAR', { skip: need('nginx') }, async (t) => {
  const relay = await serveFolder(t, await folderOf(t, text), PROXIED);
  const { came, path, service } = await start(t, relay, text);
  await assertServed(service, path, text.file);
  assert.ok(came() < text.file.length / 2, `${came()} bytes`);
  assert.equal(relay.requests.length, 2);
});

test('nginx that codes nothing for proxies → plain, and all of it', { skip: need('nginx') }, async (t) => {
  const relay = await serveFolder(t, await folderOf(t, text), NGINX);
  const { came, path, service } = await start(t, relay, text);
  await assertServed(service, path, text.file);
  assert.ok(came() > text.file.length);
});

test('nginx is cut in the middle of gzip → no client notices, the rest comes as parts', {
  skip: need('nginx'),
}, async (t) => {
  const relay = await serveFolder(t, await folderOf(t, text), PROXIED);
  const { came, path, service } = await start(t, relay, text);
  const cut = relay.cutAfter(300_000);
  const client = await open(service.url, path);
  await cut;
  const { body, complete } = await client.finish();
  assert.ok(complete && body.equals(text.file));
  const coded = came();
  assert.ok(
    coded > 300_000 && coded < text.file.length,
    `${coded} bytes: what was decoded is not asked for again`,
  );
  assert.ok(!service.log.some((line) => line.includes('another ETag')));
});

test('a large NAR of nginx with gzip → in parts over a line that is fast enough', {
  skip: need('nginx'),
}, async (t) => {
  const relay = await serveFolder(t, await folderOf(t, large), PROXIED);
  const { came, path, service } = await start(t, relay, large);
  await assertServed(service, path, large.file);
  assert.ok(came() > large.file.length);
});

test('nginx with gzip over HTTP/2 → coded, cut and gone on with as over HTTP/1.1', {
  skip: need('nginx'),
}, async (t) => {
  const home = await temporaryFolder(t, 'identity');
  const file = async (name: string, content: string) => {
    await writeFile(join(home, name), content);
    return join(home, name);
  };
  const [cert, key] = [await file('cert.pem', identity.cert), await file('key.pem', identity.key)];
  const caFile = await file('ca.pem', ca);
  const tls = `ssl_certificate ${cert}; ssl_certificate_key ${key};`;
  const port = await deadPort();
  await startNginx(t, await folderOf(t, text), `127.0.0.1:${port} ssl http2`, `${PROXIED} ${tls}`);
  const relay = await startRelay(t, () => connect({ port, host: '127.0.0.1', allowHalfOpen: true }));
  const url = relay.url.replace('http:', 'https:');
  for (const isCut of [false, true]) {
    const service = await startTestService(t, { upstreams: [{ ...upstreamConfig(url), caFile }] });
    const path = `/${field((await get(service.url, text.narInfoPath)).text, 'URL')}`;
    const before = relay.answered;
    const cut = isCut ? relay.cutAfter(300_000) : undefined;
    const client = await open(service.url, path);
    await cut;
    const { body, complete } = await client.finish();
    assert.ok(complete && body.equals(text.file));
    const came = relay.answered - before;
    assert.ok(came < text.file.length / (isCut ? 1 : 2), `${came} bytes`);
  }
});

test('Caddy that codes, in zstd where this Node can → a fraction of the bytes', {
  skip: need('caddy'),
}, async (t) => {
  const folder = await folderOf(t, text);
  const config = ({ port }: { readonly port: number }) => `{
  admin off
}
http://:${port} {
  bind 127.0.0.1
  root * ${folder}
  encode zstd gzip {
    minimum_length 1
    match status 200
  }
  file_server
}
`;
  const args = (file: string) => ['run', '--adapter', 'caddyfile', '--config', file];
  const about = { name: 'caddy', program: 'caddy', recommended: [], config, args } as const;
  const speaksUp = { defaults: true, recommended: true };
  const { port } = new URL(await startReverseProxy(t, { ...about, speaksUp }, 0, 'defaults'));
  const relay = await startRelay(t, () =>
    connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true }),
  );
  const { came, path, service } = await start(t, relay, text);
  await assertServed(service, path, text.file);
  assert.ok(came() < text.file.length / 2, `${came()} bytes, ${OFFERED} offered`);
});
