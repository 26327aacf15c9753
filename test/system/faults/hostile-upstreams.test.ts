// Upstreams that mean ill: whatever they answer, the client gets what is right, or a short error in time; nothing of it is
// kept, the service goes on, and an upstream beside it is asked.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { createLog } from '../../../lib/log.ts';
import { get, open } from '../../fixtures/client.ts';
import { startTestService, type TestServiceOptions } from '../../fixtures/in-process.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { assertClean, rawConnect, requestText } from '../../fixtures/raw-client.ts';
import { type Handler, raw, startUpstream, whole } from '../../fixtures/upstream.ts';

const one = makePackage('of-an-enemy', { size: 50_000 });
const LOG = `/log/${one.base}.drv`;
const MIB = 2 ** 20;
const DEADLINES = { connectMs: 5000, firstByteMs: 1000, stallMs: 1000, narFirstByteMs: 1000 };

function start(t: TestContext, ...urls: string[]) {
  const options: TestServiceOptions = { upstreams: urls, deadlines: DEADLINES };
  return startTestService(t, options);
}

/** Sends this over and over, as fast as it is taken, until the connection is gone. */
function endless(first: string, piece: string): Handler {
  return ({ socket }) => {
    socket.write(first, 'latin1');
    const bytes = Buffer.from(piece.repeat(Math.ceil(65_536 / piece.length)), 'latin1');
    const more = () => {
      while (!socket.destroyed && socket.write(bytes));
    };
    socket.on('drain', more);
    more();
  };
}

const OK = 'HTTP/1.1 200 OK\r\n';
const narInfo = (headers: string, body: string | Uint8Array = one.narInfo) =>
  raw(`${OK}${headers}\r\n\r\n`, body);
const BOMB = gzipSync(Buffer.alloc(64 * MIB, 'StorePath: '));

/** Answers to the question for a narinfo none of which is one. */
const ANSWERS: Record<string, Handler> = {
  'a header of a megabyte': narInfo(`X: ${'y'.repeat(MIB)}`),
  'headers without end': endless(OK, 'X: y\r\n'),
  'a header without end': endless(`${OK}X: `, 'y'),
  'a status line without end': endless('HTTP/1.1 200 ', 'O'),
  'interim answers without end': endless('', 'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n'),
  '100 Continue without end': endless('', 'HTTP/1.1 100 Continue\r\n\r\n'),
  '101 Switching Protocols': raw(
    'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    one.narInfo,
  ),
  'a narinfo without end': endless(`${OK}\r\n${one.narInfo}`, 'X: y\n'),
  'chunks without end': endless(`${OK}Transfer-Encoding: chunked\r\n\r\n`, '1\r\nx\r\n'),
  'a chunk extension without end': endless(`${OK}Transfer-Encoding: chunked\r\n\r\n1;`, 'x'),
  'trailers without end': endless(`${OK}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n`, 'x: y\r\n'),
  'a chunk of a size beyond 64 bits': raw(
    `${OK}Transfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\n`,
    one.narInfo,
  ),
  'a bomb in gzip': narInfo(`Content-Encoding: gzip\r\nContent-Length: ${BOMB.length}`, BOMB),
  'a coding nobody asked for': narInfo('Content-Encoding: gzip, gzip'),
  'a length and chunks': narInfo('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n'),
  'two lengths': narInfo(`Content-Length: ${one.narInfo.length}\r\nContent-Length: 1`),
  'a length beyond 64 bits': narInfo('Content-Length: 99999999999999999999999999'),
  'a length that nobody can count': narInfo('Content-Length: 9223372036854775807'),
  'HTTP/0.9': raw(one.narInfo),
  'another protocol': raw('SSH-2.0-OpenSSH_9.6\r\n'),
  'a header with a NUL': narInfo('X: \0'),
  'a line end inside of a header': narInfo('X: a\rSet: b'),
  'a thousand references twice': whole(
    one.narInfo.replace(/^References: .*$/m, () => `References: ${`${one.base} `.repeat(1000)}x`),
  ),
  'a redirect to no URL': raw(
    'HTTP/1.1 302 Found\r\nLocation: https:\xf0\x9f//[\r\nContent-Length: 0\r\n\r\n',
  ),
  'a redirect to a file': raw(
    'HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n',
  ),
  'a redirect to itself': raw(
    `HTTP/1.1 302 Found\r\nLocation: ${one.narInfoPath}\r\nContent-Length: 0\r\n\r\n`,
  ),
};
for (const [what, handler] of Object.entries(ANSWERS)) {
  test(`narinfo: ${what} → 502 or 504 in short, nothing kept; or that of the next upstream`, async (t) => {
    const [enemy, friend] = [await startUpstream(t), await startUpstream(t)];
    enemy.on(one.narInfoPath, handler);
    const service = await start(t, enemy.url);
    const client = await rawConnect(t, service.url);
    client.send(requestText(`GET ${one.narInfoPath} HTTP/1.1`));
    const reply = await client.reply();
    assert.ok([502, 504].includes(reply.status), `${reply.status}`);
    assertClean(reply, what);
    const files = await readdir(service.dir, { recursive: true, withFileTypes: true });
    assert.deepEqual(
      files.filter((file) => file.isFile()),
      [],
    );
    friend.on(one.narInfoPath, whole(one.narInfo));
    const beside = await start(t, enemy.url, friend.url);
    assert.equal((await get(beside.url, one.narInfoPath)).status, 200);
  });
}

/** Headers of the right NAR in which something is not right. */
const HEADERS: Record<string, string> = {
  'of another type': 'Content-Type: text/x; charset="\x80\x9b[2J"',
  'with an ETag that is none': 'ETag: "a", "b\x80"',
  'with headers that are not its business':
    'Set-Cookie: a=b\r\nRetry-After: 9\r\nServer: x\r\nX-Evil: 1\r\nAccept-Ranges: none',
  'with a range nobody asked for': `Content-Range: bytes 0-${'9'.repeat(400)}/${'9'.repeat(401)}`,
};
for (const [what, headers] of Object.entries(HEADERS)) {
  test(`NAR ${what} → the NAR, with none of these headers`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.on(one.narInfoPath, narInfo(`${headers}\r\nContent-Length: ${one.narInfo.length}`));
    upstream.on(
      one.narPath,
      raw(Buffer.from(`${OK}${headers}\r\nContent-Length: ${one.file.length}\r\n\r\n`, 'latin1'), one.file),
    );
    const service = await start(t, upstream.url);
    for (const path of [one.narInfoPath, `${one.narPath}?hash=${one.hash}`]) {
      const reply = await get(service.url, path);
      assert.equal(reply.status, 200);
      const allowed =
        /^(?:content-type|content-length|etag|accept-ranges|date|cache-control|last-modified|connection|keep-alive)$/;
      assert.deepEqual(
        Object.keys(reply.headers).filter((name) => !allowed.test(name)),
        [],
      );
      assert.doesNotMatch(Object.values(reply.headers).join(' '), /[^ -~]|charset=|Evil|none/);
      if (path !== one.narInfoPath) assert.ok(reply.body.equals(one.file));
    }
  });
}

/** What an upstream may say that a NAR is: the sizes are lies. */
const SIZES: Record<string, [info: Record<string, string>, nar: Handler]> = {
  // The right file with that FileSize is served: its hash tells.
  'as large as nothing can be': [{ FileSize: '9007199254740991' }, whole(one.file.subarray(1))],
  'that is longer than it says': [{}, whole(Buffer.concat([one.file, Buffer.alloc(MIB)]))],
  'without end': [{}, endless(`${OK}\r\n`, 'x')],
  'without end, of a size that nobody told': [
    { FileSize: '' },
    endless(`${OK}Transfer-Encoding: chunked\r\n\r\n`, '1\r\nx\r\n'),
  ],
  'of an absurd length': [
    { FileSize: '' },
    raw(`${OK}Content-Length: 9223372036854775807\r\n\r\n`, one.file),
  ],
  'of a length that is the largest': [
    { FileSize: '' },
    raw(`${OK}Content-Length: 9007199254740991\r\n\r\n`, one.file),
  ],
};
for (const [what, [fields, nar]] of Object.entries(SIZES)) {
  test(`NAR ${what} → never complete, nothing kept, the service goes on`, async (t) => {
    const upstream = await startUpstream(t);
    const { narInfo } = makePackage('of-an-enemy', { size: 50_000, fields });
    upstream.on(one.narInfoPath, whole(narInfo));
    upstream.on(one.narPath, nar);
    const service = await start(t, upstream.url);
    const reply = await get(service.url, `${one.narPath}?hash=${one.hash}`);
    assert.ok(
      reply.status === 200 ? !reply.complete : [404, 502, 504].includes(reply.status),
      `${reply.status}`,
    );
    assert.equal((await get(service.url, one.narInfoPath)).status, 200);
    await service.stop();
    const files = await readdir(service.dir, { recursive: true, withFileTypes: true });
    assert.ok(files.filter((file) => file.isFile()).length <= 1, 'the narinfo at most');
  });
}

test('a log that unpacks to more than 256 MiB is cut, and nothing of it is kept', async (t) => {
  const upstream = await startUpstream(t);
  const bomb = gzipSync(Buffer.alloc(257 * MIB), { level: 1 });
  upstream.on(LOG, whole(bomb, { 'content-encoding': 'gzip' }));
  const service = await start(t, upstream.url);
  // It is not read on: the download waits for nobody.
  const reply = await open(service.url, LOG);
  await service.logged(/could not be had: .* is longer than/);
  reply.abort();
  await service.stop();
  const files = await readdir(service.dir, { recursive: true, withFileTypes: true });
  assert.deepEqual(
    files.filter((file) => file.isFile()),
    [],
  );
});

test('what upstreams write gets into the log without control characters', async (t) => {
  const upstream = await startUpstream(t);
  const evil = `${'\x1b]0;evil\x07'.replace(/[^ -~]/g, '')}\x80\x9b2J\x85`;
  upstream.on(
    one.narInfoPath,
    raw(Buffer.from(`HTTP/1.1 500 ${evil}\r\nContent-Length: 0\r\n\r\n`, 'latin1')),
  );
  upstream.on(LOG, raw(Buffer.from(`${OK}Content-Encoding: ${evil}\r\n\r\n`, 'latin1')));
  upstream.on(one.narPath, raw(Buffer.from(`HTTP/1.1 302 x\r\nLocation: x:${evil}\r\n\r\n`, 'latin1')));
  const service = await start(t, upstream.url);
  for (const path of [one.narInfoPath, LOG, one.narPath])
    assert.equal((await get(service.url, path)).status, 502);
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line));
  for (const line of service.log) log.info(line);
  assert.ok(
    lines.some((line) => line.includes('\\x9b2J')),
    lines.join(''),
  );
  for (const line of lines) assert.match(line, /^[^\p{Cc}\u2028\u2029]*\n$/u);
});
