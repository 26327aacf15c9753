// Answers that are ready are those of the long way, byte for byte, for as long as they are right; and nobody gets one who may not.
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathOf } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import { fileOf } from '../fixtures/aged.ts';
import { get, push, put } from '../fixtures/client.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { type HotWorld, startHot } from '../fixtures/hot.ts';
import { field, type Key, makePackage, publicKey } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { putBeside } from '../fixtures/put-beside.ts';
import { requestText } from '../fixtures/raw-client.ts';
import { offer } from '../fixtures/static-cache.ts';
import { startUpstream } from '../fixtures/upstream.ts';

const FAR_KEY: Key = { name: 'far-1', seed: Buffer.alloc(32, 3) };
const pushed = makePackage('pushed');
const pulled = makePackage('pulled', { keys: [FAR_KEY] });
/** What is served of it is not what came. */
const odd = makePackage('odd', { fields: { CA: 'nonsense', Provenance: '{"by":"Zoë, 鍵"}' } });
const absent = makePackage('absent');
const TOKEN = 'a-token-of-the-tests';

function secretKey(key: Key): string {
  const [name, base64 = ''] = publicKey(key).split(':');
  return `${name}:${Buffer.concat([key.seed, Buffer.from(base64, 'base64')]).toString('base64')}`;
}

/** What the service sends on a connection of its own, all of it but the time. */
async function sent(
  world: HotWorld,
  method: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<string> {
  const client = await world.connect();
  client.send(requestText(`${method} ${path} HTTP/1.1`, { ...headers, Connection: 'close' }));
  return (await client.closed()).toString('latin1').replace(/^Date: .*\r\n/m, '');
}

/** Sees that the path is answered at once, and as the long way answers it; that answer. */
async function assertSame(
  world: HotWorld,
  path: string,
  method = 'GET',
  headers: Record<string, string> = {},
): Promise<string> {
  const label = `${method} ${path} ${JSON.stringify(headers)}`;
  world.allow(false);
  const long = await sent(world, method, path, headers);
  world.allow(true);
  world.ways();
  const hot = await sent(world, method, path, headers);
  assert.deepEqual(world.ways(), ['sent'], label);
  assert.equal(hot, long, label);
  return hot;
}

/** A service that has all of them, and an upstream for it. */
async function start(t: TestContext, toml = '', now?: () => number): Promise<HotWorld> {
  const upstream = await startUpstream(t);
  offer(upstream, pulled, odd);
  const world = await startHot(t, `${toml}\n[[upstreams]]\nurl = "${upstream.url}"\n`, now);
  return world;
}

async function warm(world: HotWorld, headers: Record<string, string> = {}): Promise<void> {
  for (const one of [pushed, pulled, odd, absent]) await sent(world, 'GET', one.narInfoPath, headers);
  await world.engine.cache.idle();
  for (const one of [pushed, pulled, odd, absent]) await sent(world, 'GET', one.narInfoPath, headers);
}

test('each kind of answer, to each kind of question', async (t) => {
  const world = await start(t, '', () => 0);
  await push(world.url, pushed);
  await warm(world);
  for (const { narInfoPath } of [pushed, pulled, odd]) {
    const whole = await assertSame(world, narInfoPath);
    assert.match(whole, /^HTTP\/1\.1 200 OK\r\n/);
    const [, etag = ''] = /^ETag: (.*)\r$/m.exec(whole) ?? [];
    const [, date] = /^Last-Modified: (.*)\r$/m.exec(whole) ?? [];
    for (const method of ['GET', 'HEAD']) {
      assert.match(await assertSame(world, narInfoPath, method, { 'If-None-Match': etag }), / 304 /);
      assert.match(
        await assertSame(world, narInfoPath, method, { 'If-None-Match': `"x", W/${etag}` }),
        / 304 /,
      );
      assert.match(await assertSame(world, narInfoPath, method, { 'If-None-Match': '"x"' }), / 200 /);
      await assertSame(world, narInfoPath, method, {
        'If-Modified-Since': date ?? 'Thu, 01 Jan 1970 00:00:00 GMT',
      });
      await assertSame(world, narInfoPath, method, { Range: 'bytes=5-' });
      await assertSame(world, narInfoPath, method, {
        'Accept-Encoding': 'zstd, br, gzip',
        Origin: 'http://a.test',
      });
    }
  }
  assert.match(await assertSame(world, odd.narInfoPath), /Provenance: \{"by":"Zo\xc3\xab, \xe9\x8d\xb5"\}\n/);
  assert.doesNotMatch(await assertSame(world, odd.narInfoPath), /CA: /);
  for (const method of ['GET', 'HEAD']) {
    assert.match(await assertSame(world, absent.narInfoPath, method), /^HTTP\/1\.1 404 Not Found\r\n/);
    await assertSame(world, absent.narInfoPath, method, { 'If-None-Match': '*' });
  }
});

test('what is unusual goes the long way', async (t) => {
  const world = await start(t, '', () => 0);
  await push(world.url, pushed);
  await warm(world);
  world.ways();
  for (const [line, headers = {}] of [
    [`GET /${pushed.narInfoPath} HTTP/1.1`],
    [`GET /upload${pushed.narInfoPath} HTTP/1.1`],
    [`GET ${pushed.narInfoPath}?x HTTP/1.1`],
    [`GET http://cache.test${pushed.narInfoPath} HTTP/1.1`],
    [`GET ${pushed.narInfoPath} HTTP/1.0`],
    [`GET ${pushed.narInfoPath} HTTP/1.1`, { Via: '1.1 nix-binary-cache-0123456789abcdef' }],
    [`GET ${absent.narInfoPath} HTTP/1.1`, { Via: '1.1 nix-binary-cache-0123456789abcdef' }],
    [`GET ${pushed.narInfoPath} HTTP/1.1`, { 'Content-Length': '0' }],
    [`GET ${pushed.narPath} HTTP/1.1`],
    ['GET /nix-cache-info HTTP/1.1'],
    [`DELETE ${pushed.narInfoPath} HTTP/1.1`],
  ] as const) {
    const client = await world.connect();
    client.send(requestText(line, { Connection: 'close', ...headers }));
    await client.closed();
    assert.deepEqual(world.ways(), [undefined], line);
  }
});

/** Sees that the NAR is ready once it was asked for a few times, and that it is sent as the long way sends it; that answer. */
async function assertReadyNar(
  world: HotWorld,
  path: string,
  headers: Record<string, string> = {},
): Promise<string> {
  await sent(world, 'GET', path, headers);
  await world.engine.cache.idle();
  world.allow(false);
  const long = await sent(world, 'GET', path, headers);
  world.allow(true);
  for (;;) {
    world.ways();
    const answer = await sent(world, 'GET', path, headers);
    assert.ok(answer === long, path);
    // Soon it is: what is not on the disk of this machine, or slow to read, is not read like this for a moment.
    if (world.ways()[0] !== undefined) return answer;
  }
}

test('a small NAR, once it was sent a few times', async (t) => {
  const world = await start(t);
  await push(world.url, pushed);
  const address = `/${field((await get(world.url, pulled.narInfoPath)).text, 'URL')}`;
  for (const path of [pushed.narPath, address, pulled.narPath]) {
    assert.match(
      await assertReadyNar(world, path),
      /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*Cache-Control: public, max-age=31536000/,
    );
    assert.match(await assertReadyNar(world, path, { 'Accept-Encoding': 'zstd' }), /^HTTP\/1\.1 200 /);
    for (const [method, headers] of [
      ['HEAD', {}],
      ['GET', { Range: 'bytes=5-' }],
      ['GET', { 'If-None-Match': '*' }],
      ['GET', { 'If-Modified-Since': new Date().toUTCString() }],
    ] as const) {
      world.ways();
      assert.match(await sent(world, method, path, headers), /^HTTP\/1\.1 (?:200|206|304) /);
      assert.deepEqual(world.ways(), [undefined], `${method} ${JSON.stringify(headers)}`);
    }
  }
  assert.equal((await get(world.url, `/upload${pulled.narPath}`)).status, 404);
  const told = world.events.filter((one) => one.kind === 'request' && one.target === address);
  for (const one of told.slice(1))
    assert.ok('how' in one && one.how === 'hit' && one.whole && one.what === 'nar', JSON.stringify(one));
});

test('a NAR that is ready ends with its file: at once where it was removed here, and when it is looked at again where others did that', async (t) => {
  const world = await start(t);
  await push(world.url, pushed);
  await assertReadyNar(world, pushed.narPath);
  await world.engine.store.delete(pushed.narPath);
  assert.equal((await get(world.url, pushed.narPath)).status, 404);

  await push(world.url, pushed);
  await assertReadyNar(world, pushed.narPath);
  await rm(fileOf(world.dir, pushed.narPath));
  await until(async () => (await get(world.url, pushed.narPath)).status === 404, 'its end to be seen');
});

test('a NAR that is ready is not for those who may not read', async (t) => {
  const toml = `read = "token"\n[[tokens]]\nname = "a"\ntoken = "${TOKEN}"\nallow = ["push"]\n`;
  const world = await start(t, toml);
  const authorization = `Bearer ${TOKEN}`;
  await put(world.url, pushed.narPath, pushed.file, { authorization });
  await put(world.url, pushed.narInfoPath, pushed.narInfo, { authorization });
  const answer = await assertReadyNar(world, pushed.narPath, { Authorization: authorization });
  assert.match(answer, /^Cache-Control: private, max-age=31536000/m);
  assert.match(await sent(world, 'GET', pushed.narPath), /^HTTP\/1\.1 401 /);
});

test('with tokens: who shows a right one has it at once, who shows none or a wrong one nothing', async (t) => {
  const toml = `read = "token"\n[[tokens]]\nname = "a"\ntoken = "${TOKEN}"\nallow = ["push"]\n`;
  const world = await start(t, toml, () => 0);
  const headers = { Authorization: `Bearer ${TOKEN}` };
  const authorization = `Bearer ${TOKEN}`;
  await put(world.url, pushed.narPath, pushed.file, { authorization });
  await put(world.url, pushed.narInfoPath, pushed.narInfo, { authorization });
  await warm(world, headers);
  for (const { narInfoPath } of [pushed, pulled, odd, absent]) {
    const answer = await assertSame(world, narInfoPath, 'GET', headers);
    if (narInfoPath !== absent.narInfoPath) assert.match(answer, /^Cache-Control: private, max-age=60\r$/m);
  }
  world.ways();
  assert.match(await sent(world, 'GET', pushed.narInfoPath), /^HTTP\/1\.1 401 /);
  assert.match(
    await sent(world, 'GET', absent.narInfoPath, { Authorization: 'Bearer x' }),
    /^HTTP\/1\.1 401 /,
  );
  // Where wrong ones come from, a right one too has to wait for its turn.
  assert.match(await sent(world, 'GET', pushed.narInfoPath, headers), /^HTTP\/1\.1 200 /);
  assert.deepEqual(world.ways(), [undefined, undefined, undefined]);
});

test('other keys hold from the next answer on', async (t) => {
  const file = join(await temporaryFolder(t), 'key');
  const [first, second]: Key[] = [1, 2].map((n) => ({ name: `own-${n}`, seed: Buffer.alloc(32, n) }));
  await writeFile(file, secretKey(first as Key));
  const world = await start(t, `[signing]\nkey_file = "${file}"\nsign = "all"\n`, () => 0);
  await push(world.url, pushed);
  await warm(world);
  for (const { narInfoPath } of [pushed, pulled])
    assert.match(await assertSame(world, narInfoPath), /^Sig: own-1:/m);
  await writeFile(file, secretKey(second as Key));
  await world.resign();
  for (const { narInfoPath } of [pushed, pulled]) {
    const { text } = await get(world.url, narInfoPath);
    assert.match(text, /^Sig: own-2:/m);
    assert.doesNotMatch(text, /own-1/);
    await assertSame(world, narInfoPath);
  }
});

test('a miss ends with a push, and a hit with a removal, at once', async (t) => {
  const world = await start(t, '', () => 0);
  await warm(world);
  await assertSame(world, absent.narInfoPath);
  await push(world.url, absent);
  assert.equal((await get(world.url, absent.narInfoPath)).status, 200);
  assert.match(await assertSame(world, absent.narInfoPath), / 200 /);
  // As after a NAR that turned out damaged.
  await world.engine.store.delete(
    pathOf({ kind: 'nar', name: absent.narPath.slice(5) as never, hash: undefined }),
  );
  await world.engine.narInfos.forsake(absent.hash as StoreHash, absent.narPath.slice(5) as never);
  assert.equal((await get(world.url, absent.narInfoPath)).status, 404);
});

test('what another process does is seen when what was seen is not to be believed any more, or when it says so', async (t) => {
  let now = 0;
  const world = await start(t, 'negative_ttl = "1h"\n', () => now);
  await warm(world);
  await assertSame(world, pulled.narInfoPath);
  const aside = await world.engine.store.open(pulled.narInfoPath);
  const body = (await aside?.bytes()) as Buffer;
  await rm(fileOf(world.dir, pulled.narInfoPath));
  await assertSame(world, pulled.narInfoPath);
  now += 1000;
  world.ways();
  await get(world.url, pulled.narInfoPath);
  assert.deepEqual(world.ways(), [undefined]);
  // Another process puts a narinfo there.
  await world.engine.store.put(
    body,
    { ...meta(absent.narInfoPath), size: body.length },
    { when: 'always', durable: false },
  );
  await rm(fileOf(world.dir, absent.narInfoPath));
  now += 1000;
  await get(world.url, absent.narInfoPath);
  await assertSame(world, absent.narInfoPath);
  world.engine.narInfos.recheck();
  world.ways();
  await get(world.url, absent.narInfoPath);
  await get(world.url, absent.narInfoPath);
  assert.deepEqual(world.ways(), [undefined, 'sent']);
});

const meta = (path: string) => ({
  ...({ path, kind: 'narinfo', origin: 'unknown', sha256: undefined } as const),
  storedAt: new Date(),
});

test('what is asked for often is looked at again before anybody has to wait for that', async (t) => {
  let now = 0;
  const world = await start(t, 'negative_ttl = "1h"\n', () => now);
  await push(world.url, pushed);
  await warm(world);
  // No look is slow, however busy the machine is: after a slow one there would be none without a wait for a moment.
  const later = performance.now() + 3_600_000;
  t.mock.method(performance, 'now', () => later);
  const ready = (path: string) => world.engine.cache.ready(path) !== undefined;
  const paths = [pushed.narInfoPath, pulled.narInfoPath, absent.narInfoPath];
  for (let round = 0; round < 3; round++) {
    now += 800;
    for (const path of paths) assert.ok(ready(path), `${path} ${now}`);
    // The looks come soon; what they see holds from when they began.
    await until(() => {
      now += 500;
      const all = paths.every(ready);
      now -= 500;
      return all;
    }, 'the looks');
  }
  now += 1000;
  for (const path of paths) assert.ok(ready(path), `${path}, which is looked at without a wait`);
  now += 30_000;
  for (const path of paths) assert.ok(!ready(path), `${path}, which nobody asked for meanwhile`);
});

test('requests that come all at once are answered in their order, and what is no request behind them is told so', async (t) => {
  const world = await start(t, '', () => 0);
  await push(world.url, pushed);
  await warm(world);
  world.ways();
  const client = await world.connect();
  const paths = [
    pulled.narInfoPath,
    pushed.narPath,
    pushed.narInfoPath,
    absent.narInfoPath,
    '/nix-cache-info',
    pulled.narInfoPath,
  ];
  client.send(paths.map((path) => requestText(`GET ${path} HTTP/1.1`)).join(''));
  const statuses: number[] = [];
  for (const path of paths) {
    const reply = await client.reply();
    statuses.push(reply.status);
    if (path === pushed.narPath) assert.ok(reply.body.equals(pushed.file));
  }
  assert.deepEqual(statuses, [200, 200, 200, 404, 200, 200]);
  assert.deepEqual(world.ways(), ['sent', undefined, 'sent', 'sent', undefined, 'sent']);
  client.send(`${requestText(`GET ${absent.narInfoPath} HTTP/1.1`)}nonsense\r\n\r\n`);
  assert.equal((await client.reply()).status, 404);
  assert.match((await client.closed()).toString(), /^HTTP\/1\.1 405 /);
});

test('of each there is one event, which tells whether all of it went out', async (t) => {
  const world = await start(t, '', () => 0);
  const large = makePackage('large', { fields: { Provenance: `{"x":"${'y'.repeat(200_000)}"}` } });
  await push(world.url, large);
  await get(world.url, large.narInfoPath);
  const { hostname, port } = new URL(world.url);
  // It reads nothing: at some time nothing fits into the kernel's memory any more.
  const client = connect({ host: hostname, port: Number(port) });
  t.after(() => client.destroy());
  const told = () =>
    world.events.filter(
      (one) => one.kind === 'request' && one.target === large.narInfoPath && one.method === 'GET',
    );
  const before = told().length;
  const ways = world.ways().slice(0, 0);
  while (!ways.includes('sending')) {
    const asked = ways.length + 1;
    client.write(requestText(`GET ${large.narInfoPath} HTTP/1.1`));
    await until(() => ways.push(...world.ways()) === asked, 'the answer to begin');
    assert.ok(asked < 1000);
  }
  const whole = ways.length - 1;
  assert.equal(told().length - before, whole);
  client.destroy();
  await until(() => told().length - before === ways.length, 'the last event');
  assert.deepEqual(
    told()
      .slice(before)
      .map((one) => 'whole' in one && one.whole),
    [...Array.from({ length: whole }, () => true), false],
  );
});

test('a NAR that nobody checked is not ready for those who know from its narinfo that it is another', async (t) => {
  const world = await start(t);
  const other = Buffer.alloc(pulled.file.length);
  await putBeside(world.dir, pulled.narPath, other, 'unknown');
  const address = `/${field((await get(world.url, pulled.narInfoPath)).text, 'URL')}`;
  // Whoever does not name its store path may get it.
  for (let i = 0; i < 5; i++) assert.ok((await get(world.url, pulled.narPath)).body.equals(other));
  assert.ok((await get(world.url, address)).body.equals(pulled.file));
});

test('nor for those whose narinfo is still on its way into the store', async (t) => {
  const world = await start(t);
  await putBeside(world.dir, pulled.narPath, Buffer.alloc(pulled.file.length), 'unknown');
  const { store } = world.engine;
  const put = store.put.bind(store);
  let goOn = () => {};
  const waiting = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  t.mock.method(store, 'put', async (...args: Parameters<typeof put>) => {
    if (args[1].kind === 'narinfo') await waiting;
    return put(...args);
  });
  const address = `/${field((await get(world.url, pulled.narInfoPath)).text, 'URL')}`;
  const reply = await get(world.url, address);
  goOn();
  assert.ok(reply.body.equals(pulled.file));
});

test('of a small NAR that its client did not take, nobody says how much went out', async (t) => {
  const world = await start(t);
  const one = makePackage('one', { size: 60_000 });
  await push(world.url, one);
  const { hostname, port } = new URL(world.url);
  const told = () => world.events.filter((event) => event.kind === 'request' && event.target === one.narPath);
  // On a busy machine a NAR may not be ready for a moment: then another client tries.
  for (let way = ''; way !== 'sending'; ) {
    await assertReadyNar(world, one.narPath);
    world.ways();
    const before = told().length;
    const client = connect({ host: hostname, port: Number(port) });
    t.after(() => client.destroy());
    let asked = 0;
    // It reads nothing: at some time nothing fits into the kernel's memory any more.
    for (way = 'sent'; way === 'sent'; asked++) {
      client.write(requestText(`GET ${one.narPath} HTTP/1.1`));
      await until(() => {
        const [first] = world.ways().map((one) => one ?? 'the long way');
        way = first ?? '';
        return first !== undefined;
      }, 'the answer to begin');
    }
    client.destroy();
    await until(() => told().length - before >= asked, 'the last event');
    const last = told().at(-1);
    assert.ok(last?.kind === 'request');
    if (way === 'sending')
      assert.deepEqual({ whole: last.whole, bytes: last.bytes }, { whole: false, bytes: 0 });
  }
});
