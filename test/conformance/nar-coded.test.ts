// Section 8 of docs/protocol.md, 37: NARs that are not packed, of upstreams that code them in transfer for whoever takes that. Fewer
// bytes cross the line; what is stored and sent are the bytes that the narinfo describes, whatever the upstream does on the way.
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import * as zlib from 'node:zlib';
import { OFFERED } from '../../lib/bytes/codings.ts';
import { assertNotGood, get, head, open } from '../fixtures/client.ts';
import { type EncoderOptions, encoder, prose } from '../fixtures/encoder.ts';
import { assertServed } from '../fixtures/gated-nar.ts';
import { startTestService, type TestService, type TestServiceOptions } from '../fixtures/in-process.ts';
import { field, makePackage, noise, type Package } from '../fixtures/nar.ts';
import { patiently } from '../fixtures/patience.ts';
import { withRanges } from '../fixtures/servers.ts';
import { type Handler, startUpstream, type TestUpstream, whole } from '../fixtures/upstream.ts';

const MIB = 2 ** 20;
const text = makePackage('text', { contents: prose(2 * MIB) });
const FAST = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 3 } };
const CODINGS = OFFERED.split(', ');

async function start(t: TestContext, one: Package, handler: Handler, options: TestServiceOptions = {}) {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, handler);
  const service = await startTestService(t, { upstreams: [upstream.url], ...options });
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  return { upstream, service, path };
}

async function startCoding(t: TestContext, one: Package, options: EncoderOptions = {}) {
  const server = encoder(one.file, options);
  return { server, ...(await start(t, one, server.handler)) };
}

/** Sees that another NAR of that upstream is served, by its address in our narinfo. */
async function assertOther(service: TestService, upstream: TestUpstream, one: Package, handler: Handler) {
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, handler);
  await assertServed(service, `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`, one.file);
}

const asks = (upstream: TestUpstream, { narPath }: Package) =>
  upstream.requests
    .filter(({ url }) => url === narPath)
    .map(({ headers }) => ({ coding: headers['accept-encoding'], range: headers.range }));

test('what is offered: zstd where this Node can, gzip and br', () => {
  const zstd = 'createZstdDecompress' in zlib;
  assert.equal(OFFERED, zstd ? 'zstd, gzip, br' : 'gzip, br');
});

for (const coding of CODINGS) {
  test(`37: a plain NAR comes in ${coding} → a fraction of its bytes; stored plain, with length and ranges`, async (t) => {
    const { path, server, service, upstream } = await startCoding(t, text, { only: coding });
    await assertServed(service, path, text.file);
    assert.deepEqual(asks(upstream, text), [{ coding: OFFERED, range: undefined }]);
    assert.deepEqual(server.answers, [coding]);
    assert.ok(server.bytes < text.file.length / 2, `${server.bytes} bytes`);
    const hit = await get(service.url, path, { headers: { 'accept-encoding': 'zstd, gzip, br' } });
    assert.ok(hit.body.equals(text.file));
    assert.equal(hit.headers['content-encoding'], undefined);
    assert.equal(hit.headers['content-length'], String(text.file.length));
    const part = await get(service.url, path, { headers: { range: 'bytes=1000-1999' } });
    assert.ok(part.status === 206 && part.body.equals(text.file.subarray(1000, 2000)));
    assert.equal(upstream.count(text.narPath), 1);
  });

  test(`37: a NAR in ${coding} that comes slowly → what has come is seen at once, though no buffer is full`, async (t) => {
    let go = () => {};
    const gone = new Promise<void>((resolve) => {
      go = resolve;
    });
    t.after(go);
    const before = (at: number) => (at === 3000 ? gone : undefined);
    const small = makePackage('small', { contents: prose(100_000) });
    const { path, service } = await startCoding(t, small, { only: coding, piece: 1000, before });
    const client = await open(service.url, path);
    assert.ok((await client.atLeast(3000)).equals(small.file.subarray(0, 3000)));
    assert.equal(client.headers['content-length'], String(small.file.length), 'the size is told');
    go();
    const { body, complete } = await client.finish();
    assert.ok(complete && body.equals(small.file));
  });

  test(`37: the connection is cut in the middle of ${coding} → the rest by a range, not coded, of the same upstream`, async (t) => {
    let cuts = 0;
    const before = (at: number, response: ServerResponse) => {
      if (at >= MIB && cuts++ === 0) response.destroy();
    };
    const { path, server, service, upstream } = await startCoding(t, text, { only: coding, before });
    await assertServed(service, path, text.file);
    assert.equal(server.answers[0], coding);
    assert.ok(
      server.answers.slice(1).every((one) => one === 'part'),
      `${server.answers}`,
    );
    const [, rest] = asks(upstream, text);
    assert.equal(rest?.coding, 'identity');
    assert.ok(Number(/^bytes=(\d+)-/.exec(rest?.range ?? '')?.[1]) > MIB / 2, 'what was decoded counts');
  });

  test(`37: ${coding} that ends cleanly, but too soon → a cut like any other`, async (t) => {
    const packed = encodeAll(coding, text.file);
    let cuts = 0;
    const plain = withRanges(text.file);
    const cut: Handler = (request, response) => {
      if (cuts++ > 0) return plain(request, response);
      response.writeHead(200, { 'content-encoding': coding });
      response.end(packed.subarray(0, packed.length >> 1));
    };
    const { path, service, upstream } = await start(t, text, cut);
    await assertServed(service, path, text.file);
    assert.ok(
      asks(upstream, text)
        .slice(1)
        .every(({ coding: asked }) => asked === 'identity'),
    );
    assert.ok(!service.log.some((line) => line.includes('believed dead')));
  });
}

function encodeAll(coding: string, plain: Buffer): Buffer {
  const { zstdCompressSync } = zlib as unknown as { zstdCompressSync(plain: Buffer): Buffer };
  if (coding === 'zstd') return zstdCompressSync(plain);
  return coding === 'gzip' ? zlib.gzipSync(plain) : zlib.brotliCompressSync(plain, FAST);
}

test('37: zstd in several frames, one of them cut → every frame is decoded, and the cut is one', async (t) => {
  if (!CODINGS.includes('zstd')) return assert.ok(!('createZstdDecompress' in zlib));
  const pieces = [0, 1, 2, 3].map((i) =>
    text.file.subarray((i * MIB) / 2, i === 3 ? undefined : ((i + 1) * MIB) / 2),
  );
  const frames = pieces.map((piece) => encodeAll('zstd', piece));
  const last = frames.at(-1) as Buffer;
  const bodies = [Buffer.concat([...frames.slice(0, -1), last.subarray(0, -10)]), Buffer.concat(frames)];
  const { path, service, upstream } = await start(t, text, (request, response) => {
    const body = bodies.shift();
    if (body === undefined) return withRanges(text.file)(request, response);
    // Gives no parts, so that the whole is asked for again.
    response.writeHead(200, { 'content-encoding': 'zstd' });
    response.end(body);
  });
  await assertServed(service, path, text.file);
  assert.ok(upstream.count(text.narPath) >= 2);
});

test('37: cut in the middle, and another upstream has it → that one goes on where the decoded bytes end', async (t) => {
  for (const other of ['parts', 'whole', 'coded'] as const) {
    const cut = encoder(text.file, { before: (at, response) => void (at >= MIB && response.destroy()) });
    const upstreams = [await startUpstream(t), await startUpstream(t)] as const;
    let broken = false;
    upstreams[0].on(text.narInfoPath, whole(text.narInfo));
    upstreams[0].on(text.narPath, (request, response) => {
      if (broken) return void request.socket.destroy();
      broken = true;
      cut.handler(request, response);
    });
    const second = encoder(text.file, { parts: other === 'parts' });
    upstreams[1].on(text.narPath, other === 'whole' ? whole(text.file) : second.handler);
    const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url) });
    const path = `/${field((await get(service.url, text.narInfoPath)).text, 'URL')}`;
    await assertServed(service, path, text.file);
    const rest = asks(upstreams[1], text).find(({ range }) => range !== undefined);
    assert.ok(
      Number(/^bytes=(\d+)-/.exec(rest?.range ?? '')?.[1]) > MIB / 2,
      `${other} ${JSON.stringify(asks(upstreams[1], text))}`,
    );
  }
});

test('37: plain and cut by the first upstream, the second codes and gives no parts → from its beginning', async (t) => {
  const second = encoder(text.file, { parts: false });
  const upstreams = [await startUpstream(t), await startUpstream(t)] as const;
  upstreams[0].on(text.narInfoPath, whole(text.narInfo));
  let broken = false;
  upstreams[0].on(text.narPath, (request, response) => {
    if (broken) return void request.socket.destroy();
    broken = true;
    response.writeHead(200, { 'content-length': text.file.length });
    response.write(text.file.subarray(0, MIB), () => response.destroy());
  });
  // It refuses ranges outright, so that it is asked for the whole.
  upstreams[1].on(text.narPath, (request, response) => {
    if (request.headers.range === undefined) return second.handler(request, response);
    response.writeHead(400).end();
  });
  const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url) });
  const path = `/${field((await get(service.url, text.narInfoPath)).text, 'URL')}`;
  await assertServed(service, path, text.file);
  assert.ok(
    second.answers.length > 0 && second.answers.every((one) => CODINGS.includes(one)),
    `${second.answers}`,
  );
});

const send =
  (headers: Record<string, string>, body: Buffer): Handler =>
  (_request, response) => {
    response.writeHead(200, headers);
    response.end(body);
  };
const coded = (coding: string, body: Buffer) => send({ 'content-encoding': coding }, body);
const plainly =
  (odd: Handler): Handler =>
  (request: IncomingMessage, response: ServerResponse) =>
    (request.headers['accept-encoding'] === 'identity' ? withRanges(text.file) : odd)(request, response);

for (const [what, odd] of [
  ['codes in what was not offered', coded('compress', noise(1000, 'lzw'))],
  ['codes twice', coded('gzip, br', zlib.brotliCompressSync(zlib.gzipSync(text.file), FAST))],
  ['says gzip of what is plain', coded('gzip', text.file)],
  ['says br of what is plain', coded('br', text.file)],
  ['codes to other bytes', coded('gzip', zlib.gzipSync(Buffer.alloc(text.file.length, 1)))],
  ['codes to fewer bytes', coded('gzip', zlib.gzipSync(text.file.subarray(0, -1)))],
  [
    'refuses such an offer',
    (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(406).end(),
  ],
] as [string, Handler][]) {
  test(`37: an upstream ${what}, but gives it plainly → served, and not offered again`, async (t) => {
    const { path, service, upstream } = await start(t, text, plainly(odd));
    // Whoever has seen wrong bytes can only be cut.
    if (what === 'codes to other bytes') assertNotGood(await get(service.url, path));
    await assertServed(service, path, text.file);
    const later = makePackage('later', { contents: prose(5000, 'later') });
    await assertOther(service, upstream, later, whole(later.file));
    if (what !== 'codes to fewer bytes')
      assert.deepEqual(asks(upstream, later), [{ coding: 'identity', range: undefined }]);
    assert.ok(!service.log.some((line) => line.includes('believed dead')));
  });
}

test('37: a coded body that goes on behind the NAR, or is a bomb → the NAR, and no more is decoded than a piece', async (t) => {
  for (const size of [text.file.length + 1, 1 << 30]) {
    let over = (_whole: boolean) => {};
    const ended = new Promise<boolean>((resolve) => {
      over = resolve;
    });
    const { path, service } = await start(t, text, (_request, response) => {
      response.on('close', () => over(response.writableFinished));
      response.writeHead(200, { 'content-encoding': 'gzip' });
      const packer = zlib.createGzip({ level: 1 });
      packer.pipe(response);
      packer.write(text.file);
      const zeros = Buffer.alloc(MIB);
      let sent = text.file.length;
      const more = (): void => {
        if (response.destroyed) return;
        if (sent >= size) return void packer.end();
        const next = Math.min(MIB, size - sent);
        sent += next;
        packer.write(zeros.subarray(0, next), more);
      };
      more();
    });
    await assertServed(service, path, text.file);
    if (size === 1 << 30) assert.equal(await patiently(ended, 'the end'), false, 'left before its end');
  }
});

test('37: nothing but a bomb → no client gets a whole answer, nothing is kept', async (t) => {
  const bomb = zlib.gzipSync(Buffer.alloc(64 * MIB));
  const { path, service } = await start(t, text, coded('gzip', bomb));
  assertNotGood(await get(service.url, path));
  assert.equal((await head(service.url, text.narPath)).status, 404);
});

test('37: a connection is used again behind a coded NAR', async (t) => {
  const sockets = new Set<unknown>();
  const packs = ['a', 'b', 'c'].map((name) => makePackage(name, { contents: prose(300_000, name) }));
  const { service, upstream } = await start(t, text, whole(text.file));
  for (const one of packs) {
    const server = encoder(one.file);
    await assertOther(service, upstream, one, (request, response) => {
      sockets.add(request.socket);
      server.handler(request, response);
    });
    // Its end has come behind what the client waited for.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(sockets.size, 1);
});

test('37: an end that does not come behind the last byte holds up nobody', async (t) => {
  const { path, service } = await start(t, text, (_request, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' });
    // All but the trailer.
    response.write(zlib.gzipSync(text.file).subarray(0, -8));
  });
  await assertServed(service, path, text.file);
});

test('37: packed NARs, narinfos and what is named only are asked for as they are', async (t) => {
  const packed = makePackage('packed', { compression: 'xz' });
  const { service, upstream } = await start(t, packed, whole(packed.file));
  await assertServed(service, packed.narPath, packed.file);
  const bare = makePackage('bare');
  upstream.on(bare.narPath, whole(bare.file));
  await assertServed(service, bare.narPath, bare.file);
  assert.ok(upstream.requests.every(({ headers }) => headers['accept-encoding'] === 'identity'));
});

test('37: an ETag of the coded body differs from that of the parts → goes on all the same, without a complaint', async (t) => {
  let cuts = 0;
  const headers = { etag: 'W/"1"', 'last-modified': 'Thu, 01 Jan 1970 00:00:01 GMT' };
  const before = (at: number, response: ServerResponse) => {
    if (at >= MIB && cuts++ === 0) response.destroy();
  };
  const server = encoder(text.file, { headers, before });
  const plain = withRanges(text.file, { all: { ...headers, etag: '"1"' } });
  const { path, service, upstream } = await start(t, text, (request, response) =>
    (request.headers.range === undefined ? server.handler : plain)(request, response),
  );
  await assertServed(service, path, text.file);
  assert.ok(!service.log.some((line) => line.includes('another ETag')));
  assert.ok(upstream.count(text.narPath) > 1);
});

test('37: a large NAR of an upstream that gives parts → in parts, not coded, as nothing says that coding is faster', async (t) => {
  const large = makePackage('large', { contents: prose(9 * MIB) });
  const { path, server, service } = await startCoding(t, large);
  await assertServed(service, path, large.file);
  assert.ok(server.answers.length > 1 && server.answers.every((one) => one === 'part'), `${server.answers}`);
});

test('37: a large NAR of one that ignores ranges → from the next on the whole, coded', async (t) => {
  const [first, second] = ['one', 'two'].map((name) =>
    makePackage(name, { contents: prose(9 * MIB, name) }),
  ) as [Package, Package];
  const { path, server, service, upstream } = await startCoding(t, first, { parts: false });
  await assertServed(service, path, first.file);
  assert.deepEqual(server.answers, ['plain']);
  const other = encoder(second.file, { parts: false });
  await assertOther(service, upstream, second, other.handler);
  assert.equal(other.answers.length, 1);
  assert.ok(CODINGS.includes(other.answers[0] ?? ''), `${other.answers}`);
});

test('37: all clients of one coded NAR share it, and see it as it arrives', async (t) => {
  let go = () => {};
  const gone = new Promise<void>((resolve) => {
    go = resolve;
  });
  t.after(go);
  const before = (at: number) => (at >= MIB ? gone : undefined);
  const { path, service, upstream } = await startCoding(t, text, { before });
  const clients = await Promise.all([open(service.url, path), open(service.url, path)]);
  for (const client of clients) await client.atLeast(MIB);
  go();
  for (const client of clients) {
    const { body, complete } = await patiently(client.finish(), 'the whole');
    assert.ok(complete && body.equals(text.file));
  }
  assert.equal(upstream.count(text.narPath), 1);
});
