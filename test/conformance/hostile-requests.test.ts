// Section 8 of docs/protocol.md, 61 and 65–68, against clients that mean ill: targets, framing, headers without end. The service
// refuses in a few plain words, goes on, and nothing is to be seen of it on the disk or at an upstream.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startServer } from '../../lib/http/server.ts';
import { printable } from '../../lib/log.ts';
import { get, put } from '../fixtures/client.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { patiently } from '../fixtures/patience.ts';
import { assertClean, rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream } from '../fixtures/upstream.ts';

const one = makePackage('hostile');
const LOG = `/log/${one.base}.drv`;

/** The status of the answer to this text on a connection of its own; 0 for a connection that is cut without one. */
async function statusOf(t: TestContext, service: TestService, text: string | Buffer): Promise<number> {
  const client = await rawConnect(t, service.url);
  client.send(text);
  const reply = await client.reply().catch((error) => {
    if (/ended before headers: $/.test(String(error))) return undefined;
    throw error;
  });
  client.destroy();
  if (reply === undefined) return 0;
  assertClean(reply, JSON.stringify(text.toString('latin1').slice(0, 100)));
  assert.doesNotMatch(reply.body.toString().trimEnd(), /[\p{Cc}\u2028\u2029]/u);
  return reply.status;
}

async function assertUntouched(service: TestService): Promise<void> {
  // What was given up is gone when it has stopped.
  await service.stop();
  assert.deepEqual(await readdir(dirname(service.dir)), ['cache']);
  const entries = await readdir(service.dir, { recursive: true, withFileTypes: true });
  assert.deepEqual(
    entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name),
    [],
  );
  await service.restart();
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
}

/** `..` and `/` in every way to write them. */
const DOTS = [
  '..',
  '%2e%2e',
  '%2E.',
  '.%2e',
  '%252e%252e',
  '..%00',
  '%c0%ae%c0%ae',
  '%u002e%u002e',
  '..;',
  '\xc0\xae.',
  '...',
];
const SLASHES = ['/', '%2f', '%2F', '\\', '%5c', '%252f', '%c0%af', '//', '/./', '%e2%81%84', '%ef%bc%8f'];

test('61: a path that leaves the folder, in every encoding → 400 or 404', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const up of DOTS) {
    for (const slash of SLASHES) {
      for (const target of [
        `/nar${slash}${up}${slash}x.nar`,
        `${slash}${up}${slash}${up}${slash}etc${slash}passwd`,
      ]) {
        const path = target.startsWith('/') ? target : `/${target}`;
        for (const [method, headers] of [
          ['GET', {}],
          ['PUT', { 'Content-Length': '0' }],
        ] as const) {
          const found = await statusOf(
            t,
            service,
            Buffer.from(requestText(`${method} ${path} HTTP/1.1`, headers), 'latin1'),
          );
          assert.ok([400, 404].includes(found), `${method} ${path}: ${found}`);
        }
      }
    }
  }
  assert.equal(upstream.count(), 0);
  await assertUntouched(service);
});

test('61: targets that are no path: what they name is never fetched, nor taken for a file', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const targets: Record<string, readonly number[]> = {
    'cache.test:80': [400, 404],
    'http://169.254.169.254/latest/meta-data': [404],
    [`${upstream.url}/x`]: [404],
    'http://': [200],
    'http://h/../x': [400],
    'file:///etc/passwd': [400, 404],
    'ftp://h/x': [400, 404],
    '*': [404],
    '?': [400, 404],
    '': [400],
    [`/${'a/'.repeat(500)}x`]: [404],
    [`/${'x'.repeat(2000)}`]: [400],
    [`/${'x'.repeat(20_000)}`]: [431],
    [`/nar/${'%41'.repeat(300)}.nar`]: [404],
  };
  for (const [target, expected] of Object.entries(targets)) {
    const found = await statusOf(t, service, requestText(`GET ${target} HTTP/1.1`));
    assert.ok(expected.includes(found), `${target.slice(0, 60)}: ${found}`);
  }
  assert.equal(upstream.count(), 0);
  await assertUntouched(service);
});

const PUT = (headers: string, body = '') => `PUT ${LOG} HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n${body}`;
const SMUGGLED = `PUT ${LOG} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nevil`;
const CHUNKED = 'Transfer-Encoding: chunked';
const FRAMING: Record<string, string> = {
  'a length and chunks': PUT(`Content-Length: 5\r\n${CHUNKED}`, `0\r\n\r\n${SMUGGLED}`),
  'chunks and a length': PUT(`${CHUNKED}\r\nContent-Length: 5`, `0\r\n\r\n${SMUGGLED}`),
  'two lengths': PUT(`Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}`, SMUGGLED),
  'two equal lengths': PUT('Content-Length: 1\r\nContent-Length: 1', 'x'),
  'two lengths in one': PUT('Content-Length: 0, 5', SMUGGLED),
  'a length with a sign': PUT('Content-Length: +5', 'hello'),
  'a negative length': PUT('Content-Length: -1', SMUGGLED),
  'a length beyond 64 bits': PUT('Content-Length: 18446744073709551616', 'x'),
  'a length in hexadecimal': PUT('Content-Length: 0x4', 'evil'),
  'a space before the colon': PUT(`Transfer-Encoding : chunked`, `0\r\n\r\n${SMUGGLED}`),
  'a folded header': PUT(`Transfer-Encoding:\r\n chunked`, `0\r\n\r\n${SMUGGLED}`),
  'a fold before all headers': `PUT ${LOG} HTTP/1.1\r\n Host: x\r\nContent-Length: 4\r\n\r\nevil`,
  'chunked twice': PUT(`${CHUNKED}\r\n${CHUNKED}`, '4\r\nevil\r\n0\r\n\r\n'),
  'chunked, chunked': PUT('Transfer-Encoding: chunked, chunked', '4\r\nevil\r\n0\r\n\r\n'),
  'chunked before another': PUT('Transfer-Encoding: chunked, identity', '4\r\nevil\r\n0\r\n\r\n'),
  'another before chunked': PUT('Transfer-Encoding: gzip, chunked', '4\r\nevil\r\n0\r\n\r\n'),
  'almost chunked': PUT('Transfer-Encoding: xchunked', '4\r\nevil\r\n0\r\n\r\n'),
  'a chunk of a negative size': PUT(CHUNKED, '-4\r\nevil\r\n0\r\n\r\n'),
  'a chunk of no size': PUT(CHUNKED, '\r\nevil\r\n0\r\n\r\n'),
  'a chunk of a size that is no number': PUT(CHUNKED, '4x\r\nevil\r\n0\r\n\r\n'),
  'a chunk of a size beyond 64 bits': PUT(CHUNKED, '1ffffffffffffffff\r\nevil'),
  'a chunk longer than its size': PUT(CHUNKED, '3\r\nevil\r\n0\r\n\r\n'),
  'a chunk extension without end': PUT(CHUNKED, `4;${'x'.repeat(100_000)}`),
  'a trailer without end': PUT(CHUNKED, `0\r\n${'x: y\r\n'.repeat(20_000)}`),
  'a line end in a name': PUT('Content-Length: 4\r\nX\nY: z', 'evil'),
  'a NUL in a value': PUT('Content-Length: 4\r\nX: \0', 'evil'),
  'a bare CR': PUT('Content-Length: 4\r\nX: a\rb: c', 'evil'),
  'HTTP/0.9': 'GET /nix-cache-info\r\n\r\n',
  'HTTP/0.9 with a name for it': 'GET /nix-cache-info HTTP/0.9\r\nHost: x\r\n\r\n',
  'an upload in HTTP/0.9': `PUT ${LOG}\r\n\r\nevil`,
  'a request that says HTTP/2.0': `GET /nix-cache-info HTTP/2.0\r\nHost: x\r\n\r\n${SMUGGLED}`,
  'an upload that says HTTP/2.0': SMUGGLED.replace('HTTP/1.1', 'HTTP/2.0'),
  'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'a TLS greeting': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
};
for (const [what, text] of Object.entries(FRAMING)) {
  test(`68: ${what} → refused and cut off, nothing behind it is taken for a request`, async (t) => {
    const service = await startTestService(t);
    const client = await rawConnect(t, service.url);
    client.send(Buffer.from(text, 'latin1'));
    const all = (await client.closed()).toString('latin1');
    const statuses = [...all.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
    // The connection of an upload that is under way already is cut without a word.
    assert.ok(statuses.length <= 1 && statuses.every((status) => status >= 400 && status < 500), all);
    assert.ok(all.length < 1024);
    await assertUntouched(service);
  });
}

test('headers by the thousand: none is overlooked, so that what a proxy adds at their end still counts', async (t) => {
  const service = await startTestService(t);
  const many = 'a:\r\n'.repeat(3500);
  for (const last of [
    'X-Forwarded-For: 192.0.2.1',
    'Via: 1.1 proxy',
    'Origin: http://evil.example',
    'Forwarded: for=x',
  ]) {
    assert.equal(await statusOf(t, service, PUT(`${many}Content-Length: 0\r\n${last}`)), 401, last);
  }
  assert.equal(
    await statusOf(t, service, PUT(`${many}Content-Length: 4\r\nContent-Encoding: xz`, 'evil')),
    415,
  );
  await assertUntouched(service);
  assert.equal(await statusOf(t, service, PUT(`${many}Content-Length: 4`, 'good')), 200);
});

test('headers without end, in bytes or in number → 431, at once', async (t) => {
  const service = await startTestService(t);
  for (const flood of ['X: y\r\n'.repeat(50_000), `X: ${'y'.repeat(300_000)}`, `${'y'.repeat(300_000)}: x`]) {
    assert.ok([400, 431].includes(await statusOf(t, service, `GET / HTTP/1.1\r\n${flood}`)));
  }
  assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
});

test('headers that come slowly, or never → 408, the connection closed', async (t) => {
  const server = await startServer({ host: '127.0.0.1', port: 0 }, async (_req, res) => void res.end('ok'), {
    headersMs: 300,
  });
  t.after(() => server.stop(0));
  const answers = [
    '',
    'GET / HT',
    'GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n',
    `${requestText('GET / HTTP/1.1')}GET / HTTP/1.1\r\n`,
  ].map(async (text) => {
    const client = await rawConnect(t, server.url);
    client.send(text);
    // One byte at a time gains nothing.
    const trickle = text.endsWith('\n') ? setInterval(() => client.send('x'), 50) : undefined;
    const all = await client.closed().finally(() => clearInterval(trickle));
    assert.match(all.toString(), /HTTP\/1\.1 408 .*\r\n\r\nRequest Timeout\n$/s);
  });
  await Promise.all(answers);
});

test('what clients write comes back, and into the log, without control characters and cut to a length', async (t) => {
  const service = await startTestService(t);
  const wide = '\u{20000}'.repeat(500);
  const hostile: [path: string, body: string, headers: Record<string, string>][] = [
    ['/nix-cache-info', `StoreDir: /\x1b[2J\x9b${wide}\n`, {}],
    [one.narInfoPath, `${one.narInfo}X: \x1b]0;evil\x07\n`, {}],
    [one.narInfoPath, one.narInfo.replace(/^StorePath: /m, `StorePath: ${wide}\x7f\x9b\u2028`), {}],
    [one.narInfoPath, one.narInfo.replace(/^CA.*|$/m, `\x85${wide}`), {}],
    [LOG, 'x', { 'content-encoding': `\x9b2J${'\xfc'.repeat(3000)}` }],
  ];
  for (const [path, body, headers] of hostile) {
    const reply = await put(service.url, path, body, headers);
    assert.ok([400, 415].includes(reply.status), `${path}: ${reply.status}`);
    assert.ok(reply.body.length < 1024, `${reply.body.length} bytes`);
    assert.equal(reply.text.trimEnd(), printable(reply.text.trimEnd()));
  }
  await patiently(
    statusOf(t, service, Buffer.from(requestText('GET /\x9b\xff HTTP/1.1'), 'latin1')),
    'an answer',
  );
  await assertUntouched(service);
});
