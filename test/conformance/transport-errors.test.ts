// Section 8 of docs/protocol.md, 66 and 68: what a client gets for a request that fails, and what becomes of the connection.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, push } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { assertClean, rawConnect, requestText } from '../fixtures/raw-client.ts';
import { startUpstream, status } from '../fixtures/upstream.ts';

const one = makePackage('transport', { size: 100_000 });
const cold = makePackage('transport-cold', { size: 100_000 });
const LOG = `/log/${cold.base}.drv`;
const S3 = '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce</Message></Error>';

/** Requests that fail, and with what. */
const ERRORS: Record<string, [request: string, body: Buffer, expected: number]> = {
  'a miss': [requestText(`GET ${makePackage('x').narInfoPath} HTTP/1.1`), Buffer.alloc(0), 404],
  'no such page': [requestText('GET /index.html HTTP/1.1'), Buffer.alloc(0), 404],
  'an unsatisfiable range': [
    requestText(`GET ${one.narPath} HTTP/1.1`, { Range: 'bytes=9999999-' }),
    Buffer.alloc(0),
    416,
  ],
  'a wrong hash': put(cold.narPath, one.file, {}, 400),
  'a narinfo without its NAR': put(cold.narInfoPath, Buffer.from(cold.narInfo), {}, 400),
  'a coding that is not supported': put(LOG, one.file, { 'Content-Encoding': 'xz' }, 415),
  'another machine': put(cold.narPath, one.file, { 'X-Forwarded-For': '192.0.2.1' }, 401),
  'a method that is not supported': [
    requestText('POST / HTTP/1.1', { 'Content-Length': '5' }),
    Buffer.from('hello'),
    405,
  ],
  'a failed upstream': [requestText(`GET ${cold.narPath} HTTP/1.1`), Buffer.alloc(0), 502],
};

function put(
  path: string,
  body: Buffer,
  headers: Record<string, string>,
  expected: number,
): [string, Buffer, number] {
  return [
    requestText(`PUT ${path} HTTP/1.1`, { 'Content-Length': String(body.length), ...headers }),
    body,
    expected,
  ];
}

for (const [what, [request, body, expected]] of Object.entries(ERRORS)) {
  test(`66, 68: after ${what} (${expected}) the connection serves on, or is closed as announced`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.on(cold.narPath, status(500, S3));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    await push(service.url, one);
    const client = await rawConnect(t, service.url);
    client.send(request, body);
    const reply = await client.reply();
    assert.equal(reply.status, expected);
    assertClean(reply, what);
    if (reply.headers.connection === 'close') {
      assert.equal((await client.closed()).length, 0);
      return;
    }
    client.send(requestText(`GET ${one.narInfoPath} HTTP/1.1`));
    assert.equal((await client.reply()).status, 200);
  });
}

test('68: a refused body that the client sends all the same → the answer arrives', async (t) => {
  const service = await startTestService(t);
  const body = Buffer.alloc(8 * 2 ** 20);
  for (const headers of [{ 'X-Forwarded-For': '192.0.2.1' }, { 'Content-Encoding': 'xz' }] as Record<
    string,
    string
  >[]) {
    const [request] = put(LOG, body, headers, 0);
    const client = await rawConnect(t, service.url);
    client.send(request, body);
    const reply = await client.reply();
    assert.ok([401, 415].includes(reply.status));
  }
});

const GARBAGE: Record<string, string> = {
  'no HTTP': 'hello\r\n\r\n',
  'a header without a colon': 'GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n',
  'a length that is no number': 'PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n',
  'two lengths': 'PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
  'a length and chunks':
    'PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
  'headers of 100 KB': `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
  'no Host': 'GET /nix-cache-info HTTP/1.1\r\n\r\n',
};
for (const [what, text] of Object.entries(GARBAGE)) {
  test(`68: ${what} → 4xx in short text, the connection closed, the service goes on`, async (t) => {
    const service = await startTestService(t);
    const client = await rawConnect(t, service.url);
    client.send(text);
    const reply = await client.reply();
    assert.ok(reply.status >= 400 && reply.status < 500, `found ${reply.status}`);
    assertClean(reply, what);
    await client.closed();
    assert.equal((await get(service.url, '/nix-cache-info')).status, 200);
  });
}
