// Section 8 of docs/protocol.md, 31 to 33: upstreams that break off, stall or send something else, and a service that is
// stopped in between. No client gets a complete answer, nothing is kept, and the next request is as good as the first.
//
// Not here, because they belong to later work:
//   33  NarHash of compressed NARs: the hash of the file, or of an uncompressed NAR, is tested
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertNotGood, get, head, open } from '../fixtures/client.ts';
import { assertServed, startGatedNar } from '../fixtures/gated-nar.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, type PackageOptions } from '../fixtures/nar.ts';
import { patiently } from '../fixtures/patience.ts';
import {
  chunked,
  type Handler,
  raw,
  startUpstream,
  status,
  truncated,
  truncatedChunked,
  whole,
} from '../fixtures/upstream.ts';

const MIB = 2 ** 20;
const one = makePackage('download', { size: 2 * MIB, compression: 'xz' });

test('31: the upstream dies in the middle → every client is cut, nothing kept, the next one fine', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const clients = [open(service.url, path), open(service.url, path)];
  gate.release(MIB);
  for (const client of clients) assert.equal((await (await client).atLeast(MIB / 2)).length >= MIB / 2, true);
  upstream.on(one.narPath, truncated(one.file, 0));
  gate.cut();
  for (const client of clients) {
    const { complete, body } = await (await client).finish();
    assert.equal(complete, false);
    assert.ok(body.equals(one.file.subarray(0, body.length)));
  }
  assert.equal((await head(service.url, one.narPath)).status, 404);
  upstream.on(one.narPath, whole(one.file));
  await assertServed(service, path, one.file);
});

test('32: the upstream dies in the middle and answers again → no client notices', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const clients = [open(service.url, path), open(service.url, path)];
  gate.release(MIB);
  for (const client of clients) await (await client).atLeast(MIB / 2);
  upstream.on(one.narPath, whole(one.file));
  gate.cut();
  for (const client of clients) {
    const { complete, body } = await (await client).finish();
    assert.ok(complete && body.equals(one.file));
  }
});

const CUTS = {
  'with a length': truncated(one.file, MIB),
  'in chunks': truncatedChunked(one.file, MIB),
  'one byte before its end': truncated(one.file, one.file.length - 1),
  'before its first byte': truncated(one.file, 0),
};
for (const [what, handler] of Object.entries(CUTS)) {
  test(`31: a body ${what} is cut → no complete answer, nothing kept after a restart, the next one fine`, async (t) => {
    const { upstream, service, path } = await startGatedNar(t, one);
    upstream.on(one.narPath, handler);
    const reply = await get(service.url, path);
    if (reply.status === 200) assert.equal(reply.complete, false);
    else assert.ok([502, 504].includes(reply.status), `found ${reply.status}`);
    await service.restart();
    assert.equal((await head(service.url, one.narPath)).status, 404);
    upstream.on(one.narPath, whole(one.file));
    await assertServed(service, path, one.file);
  });
}

test('31: the upstream stalls in the middle → the client is cut, the upstream connection given up', async (t) => {
  const deadlines = { connectMs: 5000, firstByteMs: 5000, stallMs: 300 };
  const { upstream, gate, service, path } = await startGatedNar(t, one, { deadlines });
  const opened = open(service.url, path);
  gate.release(MIB);
  const { complete } = await (await opened).finish();
  assert.equal(complete, false);
  await gate.abandoned;
  upstream.on(one.narPath, whole(one.file));
  await assertServed(service, path, one.file);
});

test('32: after a break the upstream has other bytes of the same length → never spliced', async (t) => {
  const { upstream, service, path } = await startGatedNar(t, one);
  const other = Buffer.from(one.file).fill(7, MIB);
  upstream.on(one.narPath, truncated(one.file, MIB, { etag: '"first"', 'accept-ranges': 'bytes' }));
  const first = await get(service.url, path);
  assert.equal(first.complete, false);
  assert.ok(first.body.equals(one.file.subarray(0, first.body.length)));
  upstream.on(one.narPath, whole(other, { etag: '"second"', 'accept-ranges': 'bytes' }));
  const again = await get(service.url, path);
  assert.equal(again.status === 200 && again.complete, false);
  // By its name alone nobody can tell what it is, and so it is passed on, as one piece.
  const named = await get(service.url, one.narPath);
  if (named.status === 200 && named.complete) assert.ok(named.body.equals(other));
  assert.equal((await head(service.url, one.narPath)).status, 404);
});

const right = makePackage('broken', { size: 5000 });
const wrong = makePackage('wrong', { size: 5000 });
/** What nobody here can unpack, so that its name alone may also be the hash of what is in it. */
const UNTOLD = 'FileHash differs (xz)';
const BROKEN: Record<string, [PackageOptions, Handler]> = {
  [UNTOLD]: [{ compression: 'xz' }, flipped('xz')],
  'FileHash differs (none)': [{}, flipped('none')],
  'NarHash differs, no FileHash': [{ fields: { FileHash: undefined, FileSize: undefined } }, flipped('none')],
  'the name alone tells the hash': [{ fields: { FileHash: undefined } }, flipped('none')],
  'the file is another package': [{}, whole(wrong.file)],
  'the file is longer': [{}, whole(Buffer.concat([right.file, Buffer.alloc(8)]))],
  'the file is shorter': [{}, whole(right.file.subarray(0, 100))],
  'the file is empty': [{}, whole('')],
  'the file is a page': [{}, whole('<html>Please log in</html>', { 'content-type': 'text/html' })],
  'the file has no length and differs': [{}, chunked(wrong.file)],
  'the answer ends early': [{}, truncated(right.file, 3000)],
  'the answer has no length and ends early': [
    {},
    raw('HTTP/1.0 200 OK\r\n\r\n', right.file.subarray(0, 3000)),
  ],
};

/** The file of package "broken" with one byte changed in its middle. */
function flipped(compression: 'xz' | 'none'): Handler {
  const { file } = makePackage('broken', { size: 5000, compression });
  const bytes = Buffer.from(file);
  bytes.writeUInt8(bytes.readUInt8(2500) ^ 1, 2500);
  return whole(bytes);
}

for (const [what, [options, handler]] of Object.entries(BROKEN)) {
  for (const asked of ['with its narinfo', 'by name alone']) {
    const isUntold = what === UNTOLD && asked === 'by name alone';
    const answer = isUntold ? 'passed on' : 'no complete answer';
    test(`33: ${what}, asked ${asked} → ${answer}, not stored, good the next time`, async (t) => {
      const broken = makePackage('broken', { size: 5000, ...options });
      const upstream = await startUpstream(t);
      upstream.on(broken.narInfoPath, whole(broken.narInfo));
      upstream.on(broken.narPath, handler);
      const service = await startTestService(t, { upstreams: [upstream.url] });
      const path = `/${field((await get(service.url, broken.narInfoPath)).text, 'URL')}`;
      const reply = await get(service.url, asked === 'by name alone' ? broken.narPath : path);
      if (isUntold) assert.ok(reply.complete && reply.body.length === broken.file.length);
      else assertNotGood(reply);
      assert.equal((await head(service.url, broken.narPath)).status, 404, 'HEAD');
      upstream.on(broken.narPath, whole(broken.file));
      const again = await get(service.url, path);
      assert.equal(again.status, 200);
      assert.ok(again.complete && again.body.equals(broken.file));
    });
  }
}

test('33: who has sent wrong bytes is asked last the next time', async (t) => {
  const [liar, other] = [await startUpstream(t), await startUpstream(t)];
  liar.on(right.narInfoPath, whole(right.narInfo));
  liar.on(right.narPath, whole(wrong.file));
  other.on(right.narPath, status(404));
  const service = await startTestService(t, { upstreams: [liar.url, other.url] });
  const path = `/${field((await get(service.url, right.narInfoPath)).text, 'URL')}`;
  assertNotGood(await get(service.url, path));
  const lies = liar.count(right.narPath);
  other.on(right.narPath, whole(right.file));
  await assertServed(service, path, right.file);
  assert.equal(liar.count(right.narPath), lies);
});

test('31: a stop lets a running answer finish, and what was fetched is stored', async (t) => {
  const { upstream, gate, service, path } = await startGatedNar(t, one);
  const opened = open(service.url, path);
  gate.release(MIB);
  const client = await opened;
  await client.atLeast(1);
  const stopped = service.stop(10_000);
  gate.release();
  const { complete, body } = await client.finish();
  assert.ok(complete && body.equals(one.file));
  await stopped;
  await upstream.down();
  await service.restart();
  await assertServed(service, path, one.file);
});

test('31: a stop gives up downloads once its grace is over, however patient with upstreams', async (t) => {
  const deadlines = { connectMs: 5000, firstByteMs: 5000, stallMs: 30_000 };
  const { gate, service, path } = await startGatedNar(t, one, { deadlines });
  const opened = open(service.url, path);
  gate.release(MIB);
  const client = await opened;
  await client.atLeast(1);
  await patiently(service.stop(), 'the service to stop');
  assert.equal((await client.finish()).complete, false);
  await gate.abandoned;
  await service.restart();
  assert.equal((await head(service.url, one.narPath)).status, 404);
});
