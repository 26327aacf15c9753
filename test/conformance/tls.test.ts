// The service behind TLS: certificates that come and go while it runs, clients that must show one, and peers that do
// anything but TLS.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { temporaryFolder } from '../fixtures/defer.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { openedSince, openThings } from '../fixtures/open-things.ts';
import { patiently } from '../fixtures/patience.ts';
import { requestText } from '../fixtures/raw-client.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import { type SecureClient, secureConnect } from '../fixtures/tls-client.ts';

const authority = makeAuthority();
const [first, second] = [authority.issue('IP:127.0.0.1'), authority.issue('IP:127.0.0.1')];
const clients = makeAuthority();
const others = makeAuthority();
const TRUST: ConnectionOptions = { ca: authority.ca };
const one = makePackage('secure', { size: 3_000_000 });

interface Secure {
  readonly service: TestService;
  readonly toml: string;
  write(files: Record<string, string>): Promise<void>;
}

async function start(t: TestContext, more = ''): Promise<Secure> {
  const folder = await temporaryFolder(t);
  const write = async (files: Record<string, string>) => {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  };
  await write({ cert: first.cert, key: first.key, ca: clients.ca });
  const toml = `[tls]\ncert_file = "${folder}/cert"\nkey_file = "${folder}/key"\n${more.replace('ca"', `${folder}/ca"`)}`;
  const service = await startTestService(t, { toml });
  assert.match(service.url, /^https:/);
  return { service, toml, write };
}

const INFO = '/nix-cache-info';
const DEMAND = 'client_ca_file = "ca"\n';

/** Uploads a package on that connection. */
async function pushOn({ client }: SecureClient): Promise<void> {
  for (const [path, body] of [
    [one.narPath, one.file],
    [one.narInfoPath, Buffer.from(one.narInfo)],
  ] as const) {
    const headers = { 'Content-Length': String(body.length), Expect: '100-continue' };
    client.send(requestText(`PUT ${path} HTTP/1.1`, headers));
    assert.equal((await client.reply()).status, 100);
    client.send(body);
    assert.equal((await client.reply()).status, 200);
  }
}

test('one connection carries uploads, downloads, ranges and pipelined requests, in order', async (t) => {
  const { service } = await start(t);
  const secure = await secureConnect(t, service.url, TRUST);
  assert.equal((await secure.get(INFO)).status, 200);
  await pushOn(secure);
  assert.ok((await secure.get(one.narPath)).body.equals(one.file));
  const { client } = secure;
  client.send(requestText(`GET ${one.narPath} HTTP/1.1`, { Range: 'bytes=2999000-' }));
  const part = await client.reply();
  assert.equal(part.status, 206);
  assert.ok(part.body.equals(one.file.subarray(2_999_000)));
  const paths = [one.narInfoPath, INFO, one.narPath, '/nothing', INFO];
  client.send(...paths.map((path) => requestText(`GET ${path} HTTP/1.1`)));
  const statuses = [];
  for (const _ of paths) statuses.push((await client.reply()).status);
  assert.deepEqual(statuses, [200, 200, 200, 404, 200]);
});

test('a token is refused before 100 over TLS too', async (t) => {
  const { service, toml } = await start(t);
  await service.reload(`[push]\nfrom = []\n${toml}`);
  const { client } = await secureConnect(t, service.url, TRUST);
  client.send(requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Content-Length': '9', Expect: '100-continue' }));
  assert.equal((await client.reply()).status, 401);
});

test('another certificate: new connections see it, those that are open go on', async (t) => {
  const { service, toml, write } = await start(t);
  const old = await secureConnect(t, service.url, TRUST);
  const { serial } = old;
  await write({ ...second });
  await service.reload(toml);
  const fresh = await secureConnect(t, service.url, TRUST);
  assert.notEqual(fresh.serial, serial);
  for (const secure of [old, fresh, old]) assert.equal((await secure.get(INFO)).status, 200);
  await write({ ...first });
  await service.reload(toml);
  assert.equal((await secureConnect(t, service.url, TRUST)).serial, serial);
});

test('a certificate that can not be used: all stays as it was, tokens included', async (t) => {
  const { service, toml, write } = await start(t);
  const { serial } = await secureConnect(t, service.url, TRUST);
  const cases: [Record<string, string>, RegExp][] = [
    [{ key: second.key }, /expected a certificate and its key/],
    [{ key: first.key, cert: 'nonsense' }, /tls\.cert_file, .*expected PEM/],
    [{ cert: first.cert, key: first.key.slice(0, 100) }, /expected a certificate and its key/],
  ];
  const closed = `read = "token"\n[[tokens]]\nname = "a"\ntoken = "0123456789abcdef"\nallow = ["pull"]\n${toml}`;
  for (const [files, message] of cases) {
    await write(files);
    await assert.rejects(service.reload(closed), message);
    const secure = await secureConnect(t, service.url, TRUST);
    assert.equal(secure.serial, serial);
    assert.equal((await secure.get(INFO)).status, 200);
  }
  await write({ ...first });
  for (const text of ['', `${toml}client_ca_file = "${toml.split('"')[1]}"\n`]) {
    await assert.rejects(service.reload(text), /can come or go only at a new start/);
    assert.equal((await (await secureConnect(t, service.url, TRUST)).get(INFO)).status, 200);
  }
  await service.reload(closed);
  assert.equal((await (await secureConnect(t, service.url, TRUST)).get(INFO)).status, 401);
});

/** Whether the service answers on a connection with these options: TLS 1.3 tells of a refusal only then. */
async function answered(t: TestContext, { url }: TestService, options: ConnectionOptions): Promise<boolean> {
  try {
    return (await (await secureConnect(t, url, { ...TRUST, ...options })).get(INFO)).status === 200;
  } catch {
    return false;
  }
}

test('client_ca_file: only clients with a certificate of these authorities are answered; a reload changes them', async (t) => {
  const { service, toml, write } = await start(t, DEMAND);
  const [mine, foreign] = [clients.issue('DNS:client'), others.issue('DNS:client')];
  const selfSigned = makeAuthority();
  const versions = [{ maxVersion: 'TLSv1.2' }, { minVersion: 'TLSv1.3' }] as const;
  const expect = async (good: boolean, other: boolean) => {
    for (const version of versions) {
      assert.equal(await answered(t, service, { ...version, ...mine }), good);
      assert.equal(await answered(t, service, { ...version, ...foreign }), other);
      assert.equal(await answered(t, service, version), false, 'no certificate');
      assert.equal(await answered(t, service, { ...version, ...selfSigned.issue('DNS:client') }), false);
    }
  };
  await expect(true, false);
  const open = await secureConnect(t, service.url, { ...TRUST, ...mine });
  let session: Buffer | undefined;
  open.socket.on('session', (ticket) => {
    session = ticket;
  });
  const { status, headers } = await open.get(INFO);
  assert.equal(status, 200);
  assert.match(headers['cache-control'] ?? '', /^private,/, 'a cache in front has other clients');
  await write({ ca: 'nonsense' });
  await assert.rejects(service.reload(toml), /tls\.client_ca_file/);
  await expect(true, false);
  await write({ ca: others.ca });
  await service.reload(toml);
  await expect(false, true);
  assert.equal((await open.get(INFO)).status, 200);
  assert.ok(session !== undefined);
  assert.equal(await answered(t, service, { session, ...mine }), false, 'nor does an old session help');
  await write({ ca: clients.ca + others.ca });
  await service.reload(toml);
  await expect(true, true);
});

async function plain(t: TestContext, { url }: TestService): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** When the connection has ended, however. */
function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()).resume());
}

test('what is no TLS gets nowhere, hurts nobody and leaves nothing', async (t) => {
  const { service } = await start(t);
  const good = await secureConnect(t, service.url, TRUST);
  await good.get(INFO);
  const before = openThings();
  const said = service.log.length;
  const attempts: (string | Buffer)[] = [
    requestText(`GET ${INFO} HTTP/1.1`),
    `${requestText(`PUT ${one.narPath} HTTP/1.1`, { 'Content-Length': '3' })}abc`,
    Buffer.alloc(100_000, 0),
    Buffer.from([22, 3, 1, 255, 255, ...Buffer.alloc(70_000, 1)]),
    Buffer.from([22, 3, 1, 0, 4, 1, 255, 255, 255]),
    Buffer.from([21, 3, 3, 0, 2, 2, 40]),
    '\n',
  ];
  for (const attempt of attempts) {
    const socket = await plain(t, service);
    let received = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      received += text;
    });
    const closed = closing(socket);
    socket.end(attempt);
    await patiently(closed, 'the end of the connection');
    assert.doesNotMatch(received, /HTTP|StoreDir/);
  }
  for (const gone of [Buffer.alloc(0), Buffer.from([22, 3, 1, 0, 200, 1])]) {
    const socket = await plain(t, service);
    socket.write(gone);
    socket.resetAndDestroy();
  }
  assert.deepEqual(await openedSince(before), []);
  assert.equal((await good.get(INFO)).status, 200);
  assert.equal(
    service.log.slice(said).filter((line) => !line.startsWith('info 127.0.0.1 GET /nix-cache-info 200'))
      .length,
    0,
  );
});

test('a stop ends idle connections and half handshakes at once, and lets a running answer finish', async (t) => {
  const { service } = await start(t);
  const idle = await secureConnect(t, service.url, TRUST);
  await pushOn(idle);
  const running = await secureConnect(t, service.url, TRUST);
  running.socket.pause();
  running.client.send(requestText(`GET ${one.narPath} HTTP/1.1`));
  const silent = [await plain(t, service), await plain(t, service)];
  silent[1]?.write(Buffer.from([22, 3, 1, 0, 200, 1]));
  const closed = silent.map(closing);
  // So that the service has seen them all.
  assert.equal((await idle.get(INFO)).status, 200);
  running.socket.resume();
  const reply = running.client.reply();
  const stopped = service.stop(20_000);
  const started = performance.now();
  await patiently(Promise.all([...closed, idle.client.closed()]), 'the end of the others');
  assert.ok((await reply).body.equals(one.file));
  await patiently(stopped, 'the stop');
  assert.ok(performance.now() - started < 15_000, `${performance.now() - started} ms`);
});

test('a handshake that takes for ever is cut after half a minute', async (t) => {
  const { service } = await start(t);
  const socket = await plain(t, service);
  const hello = Buffer.concat([Buffer.from([22, 3, 1, 0, 200, 1]), Buffer.alloc(199)]);
  let at = 0;
  const drip = setInterval(() => socket.write(hello.subarray(at, ++at)), 1000);
  t.after(() => clearInterval(drip));
  await patiently(closing(socket), 'the end of the handshake');
});
