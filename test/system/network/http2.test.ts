// HTTP/2 to real servers, over a long line and through real proxies.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startLine } from '../../bench/line.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { type Asker, askerOf, identity } from '../../fixtures/http2.ts';
import { deadPort } from '../../fixtures/origin.ts';
import { need } from '../fixtures/need.ts';
import { startNginx } from '../fixtures/nginx.ts';
import { CREDENTIALS, start, startMicrosocks, startSquid } from '../fixtures/real-proxy.ts';

const LARGE = 30 << 20;
const times = (n: number) => Array.from({ length: n }, (_, index) => index);

/** A folder with small files and a large one, as nginx serves it. */
async function startFiles(t: TestContext, tls = '', settings = ''): Promise<number> {
  const folder = await temporaryFolder(t, 'files');
  await mkdir(join(folder, 'small'));
  await Promise.all(times(100).map((n) => writeFile(join(folder, 'small', `${n}`), `small ${n}`)));
  await writeFile(join(folder, 'large'), Buffer.alloc(LARGE, 'large'));
  const port = await deadPort();
  await startNginx(t, folder, `127.0.0.1:${port}${tls}`, settings);
  return port;
}

async function startTlsFiles(t: TestContext): Promise<number> {
  const home = await temporaryFolder(t, 'identity');
  const [cert, key] = [join(home, 'cert.pem'), join(home, 'key.pem')];
  await Promise.all([writeFile(cert, identity.cert), writeFile(key, identity.key)]);
  return await startFiles(t, ' ssl http2', `ssl_certificate ${cert}; ssl_certificate_key ${key};`);
}

/** nghttpx before nginx. */
async function startNghttpx(t: TestContext): Promise<number> {
  const behind = await startFiles(t);
  const home = await temporaryFolder(t, 'identity');
  const [cert, key] = [join(home, 'cert.pem'), join(home, 'key.pem')];
  await Promise.all([writeFile(cert, identity.cert), writeFile(key, identity.key)]);
  const port = await deadPort();
  const args = [
    `--frontend=127.0.0.1,${port}`,
    `--backend=127.0.0.1,${behind}`,
    '--workers=1',
    '--errorlog-file=/dev/null',
  ];
  await start(t, 'nghttpx', [...args, '--conf=/dev/null', key, cert], [port]);
  return port;
}

/** So many at once, all of which must come. */
async function getMany({ ask }: Asker, count: number): Promise<void> {
  await Promise.all(
    times(count).map(async (n) => {
      const response = await ask(`/small/${n % 100}`);
      assert.deepEqual([response.statusCode, response.httpVersionMajor], [200, 2]);
      assert.equal(String(Buffer.concat(await response.toArray())), `small ${n % 100}`);
    }),
  );
}

async function getLarge({ ask }: Asker): Promise<number> {
  const began = performance.now();
  const response = await ask('/large', { isLarge: true });
  let bytes = 0;
  for await (const chunk of response) bytes += chunk.length;
  assert.equal(bytes, LARGE);
  return performance.now() - began;
}

test('of 1500 requests at once to nginx, which ends a connection after 1000, none fails', {
  skip: need('nginx'),
}, async (t) => {
  const line = await startLine(t, await startTlsFiles(t), { roundTripMs: 200 });
  let dialled = 0;
  const asker = askerOf(t, { url: `https://127.0.0.1:${line}` }, { dialled: () => dialled++ });
  await getMany(asker, 1500);
  assert.ok(dialled <= 6, `${dialled} connections`);
});

test('30 MB come fast over a long line', { skip: need('nginx') }, async (t) => {
  const line = await startLine(t, await startTlsFiles(t), { roundTripMs: 200 });
  const asker = askerOf(t, { url: `https://127.0.0.1:${line}` });
  const ms = await getLarge(asker);
  // With the windows that it has by itself it takes more than 90 round trips.
  assert.ok(ms < 9000, `${ms} ms`);
});

test('nghttpx is asked over HTTP/2', { skip: need('nginx', 'nghttpx') }, async (t) => {
  const asker = askerOf(t, { url: `https://127.0.0.1:${await startNghttpx(t)}` });
  await getMany(asker, 300);
  await getLarge(asker);
});

test('it is HTTP/2 through squid, also over TLS, and through microsocks', {
  skip: need('nginx', 'squid', 'microsocks'),
}, async (t) => {
  const port = await startTlsFiles(t);
  const squid = await startSquid(t, identity);
  const proxies = [
    `http://${CREDENTIALS}@127.0.0.1:${squid.port}`,
    `https://${CREDENTIALS}@127.0.0.1:${squid.tlsPort}`,
    `socks5://${CREDENTIALS}@127.0.0.1:${await startMicrosocks(t)}`,
  ];
  for (const proxy of proxies) {
    const asker = askerOf(t, { url: `https://127.0.0.1:${port}` }, { proxy });
    await getMany(asker, 200);
    await getLarge(asker);
  }
});
