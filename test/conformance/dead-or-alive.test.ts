// Section 8 of docs/protocol.md, 8, 9, 16, 71, 75: whether an upstream is dead or alive, and what that makes of an answer. What
// one object, one host behind a redirect or one late NAR says is not taken for what the upstream is.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { get } from '../fixtures/client.ts';
import { type SourceFile, sourceFile, startFaulty } from '../fixtures/faulty.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../fixtures/nar.ts';
import { deadPort } from '../fixtures/origin.ts';
import { offer } from '../fixtures/static-cache.ts';
import { redirect, startUpstream, status, truncated, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';
import { startSilence } from '../fixtures/upstreams.ts';

const one = makePackage('one');
const PAGE = '<html><body><h1>403 Forbidden</h1> too many requests</body></html>';
const DEADLINES = { connectMs: 2000, firstByteMs: 400, stallMs: 5000, narFirstByteMs: 20_000 };

const filesOf = (...packages: Package[]): Map<string, SourceFile> =>
  new Map(
    packages.flatMap((one) => [
      [one.narInfoPath, sourceFile(Buffer.from(one.narInfo))],
      [one.narPath, sourceFile(one.file)],
    ]),
  );

/** Has everybody asked for what nobody has, until this many have been asked for. */
async function askForNothing(url: string, count = 3): Promise<number[]> {
  const replies: number[] = [];
  for (let i = 0; i < count; i++)
    replies.push((await get(url, makePackage(`nothing-${i}`).narInfoPath)).status);
  return replies;
}

test('75: the first lookup after an outage of any length → not a miss, though another upstream says 404', async (t) => {
  for (const minutes of [0, 1, 24 * 60]) {
    let ahead = 0;
    const first = await startFaulty(t, filesOf(one));
    const other = await startUpstream(t);
    const service = await startTestService(t, {
      upstreams: [first.url, other.url],
      now: () => performance.now() + ahead,
    });
    await first.down();
    assert.deepEqual(await askForNothing(service.url), [502, 502, 502]);
    assert.equal((await get(service.url, one.narInfoPath)).status, 404, 'while it is dead');
    ahead += minutes * 60_000;
    assert.equal((await get(service.url, one.narInfoPath)).status, 404, 'while it is dead');
    await first.up();
    ahead += 10_000;
    assert.equal((await get(service.url, one.narInfoPath)).status, 200, `after ${minutes} minutes`);
  }
});

test('75: the only upstream is back → the next lookup is answered, at once', async (t) => {
  const upstream = await startFaulty(t, filesOf(one));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await upstream.down();
  assert.deepEqual(await askForNothing(service.url, 5), [502, 502, 502, 502, 502]);
  await upstream.up();
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
});

test('75: nobody asks, and a timer finds the upstream alive', async (t) => {
  const upstream = await startFaulty(t, filesOf(one));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  await upstream.down();
  await askForNothing(service.url);
  await service.logged(/believed dead/);
  await upstream.up();
  await service.logged(/alive again/);
});

test('16: a dead upstream that never answers costs nothing where another one has it', async (t) => {
  const dead = await startSilence(t);
  const other = await startUpstream(t);
  const packages = Array.from({ length: 40 }, (_, i) => makePackage(`package-${i}`));
  offer(other, ...packages);
  const service = await startTestService(t, {
    upstreams: [dead.url, other.url],
    deadlines: { ...DEADLINES, firstByteMs: 3000 },
    config: { hedgeDelayMs: 50 },
  });
  for (const { narInfoPath } of packages.slice(0, 3)) await get(service.url, narInfoPath);
  await service.logged(/believed dead/);
  const { total } = dead.sockets;
  const replies = await Promise.all(packages.map(({ narInfoPath }) => get(service.url, narInfoPath)));
  assert.deepEqual(new Set(replies.map(({ status }) => status)), new Set([200]));
  // The timer's look may be among them.
  assert.ok(dead.sockets.total <= total + 2, `${dead.sockets.total - total} connections`);
});

for (const [what, bad] of Object.entries({
  'is always 503': status(503),
  'is always a web page': status(200, PAGE, { 'content-type': 'text/html' }),
  'is always reset': (request: IncomingMessage) => void request.socket.resetAndDestroy(),
  'is always cut': truncated(Buffer.from(one.narInfo), 20),
  'does not decode': status(200, 'plain', { 'content-encoding': 'gzip' }),
})) {
  test(`16: one narinfo ${what}, and is asked for again and again → all others are 200`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.on(one.narInfoPath, bad);
    const others = Array.from({ length: 6 }, (_, i) => makePackage(`other-${i}`));
    offer(upstream, ...others);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    for (const { narInfoPath } of others) {
      for (let i = 0; i < 3; i++) assert.equal((await get(service.url, one.narInfoPath)).status, 502);
      assert.equal((await get(service.url, narInfoPath)).status, 200);
    }
    assert.doesNotMatch(service.log.join('\n'), /believed dead/);
  });
}

test('16: paths whose files are gone (200, then cut, as harmonia does) → other paths are 200, NARs and narinfos', async (t) => {
  const upstream = await startUpstream(t);
  const gone = Array.from({ length: 4 }, (_, i) => makePackage(`gone-${i}`));
  const others = Array.from({ length: 4 }, (_, i) => makePackage(`other-${i}`));
  offer(upstream, ...gone, ...others);
  for (const { file, narPath } of gone) upstream.on(narPath, truncated(file, 0));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const [index, other] of others.entries()) {
    const lost = await get(service.url, (gone[index] as Package).narInfoPath);
    const cut = await get(service.url, `/${field(lost.text, 'URL')}`);
    assert.ok(cut.status >= 500 || !cut.complete);
    const { text } = await get(service.url, other.narInfoPath);
    assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(other.file));
  }
});

test('71: 403 with a web page → 502 and never 404; the narinfo is kept, and its NAR comes when the ban is over', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  offer(upstream, one);
  const { text } = await get(service.url, one.narInfoPath);
  const ban = status(403, PAGE, { 'content-type': 'text/html; charset=UTF-8' });
  upstream.on(one.narPath, ban);
  const other = makePackage('other');
  upstream.on(other.narInfoPath, ban);
  for (let i = 0; i < 2; i++) {
    assert.equal((await get(service.url, `/${field(text, 'URL')}`)).status, 502);
    assert.equal((await get(service.url, other.narInfoPath)).status, 502);
  }
  upstream.on(one.narPath, whole(one.file));
  assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(one.file));
  assert.equal(upstream.count(one.narInfoPath), 1, 'it was not dropped');
});

test('8: 429 → what can wait is held back for as long as the upstream says, then asked one by one', async (t) => {
  const upstream = await startUpstream(t);
  const packages = Array.from({ length: 8 }, (_, i) => makePackage(`package-${i}`));
  offer(upstream, ...packages);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  let refusedAt = 0;
  const early: number[] = [];
  let open = 0;
  let most = 0;
  for (const { narInfo, narInfoPath } of packages) {
    upstream.on(narInfoPath, (request: IncomingMessage, response: ServerResponse) => {
      const now = performance.now();
      if (refusedAt === 0) {
        refusedAt = now;
        return status(429, 'slow down', { 'retry-after': '1' })(request, response);
      }
      early.push(now - refusedAt);
      most = Math.max(most, ++open);
      setTimeout(() => {
        open--;
        whole(narInfo)(request, response);
      }, 20);
    });
  }
  assert.equal((await get(service.url, (packages[0] as Package).narInfoPath)).status, 200);
  assert.ok((early[0] as number) >= 950, `asked again after ${early[0]} ms`);
  refusedAt = 0;
  early.length = 0;
  most = 0;
  const replies = await Promise.all(packages.map(({ narInfoPath }) => get(service.url, narInfoPath)));
  assert.deepEqual(new Set(replies.map(({ status }) => status)), new Set([200]));
  for (const { headers } of replies) assert.equal(headers['retry-after'], undefined);
});

test('16: a NAR that the only upstream begins late → whole, and says nothing of its narinfos', async (t) => {
  const upstream = await startUpstream(t);
  const packages = Array.from({ length: 4 }, (_, i) => makePackage(`late-${i}`));
  offer(upstream, ...packages);
  for (const { file, narPath } of packages) {
    upstream.on(narPath, (request, response) => {
      setTimeout(() => whole(file)(request, response), 4 * DEADLINES.firstByteMs);
    });
  }
  const service = await startTestService(t, { upstreams: [upstream.url], deadlines: DEADLINES });
  const replies = await Promise.all(packages.map(({ narPath }) => get(service.url, narPath)));
  for (const [index, { body }] of replies.entries())
    assert.ok(body.equals((packages[index] as Package).file));
  for (const { narInfoPath } of packages) assert.equal((await get(service.url, narInfoPath)).status, 200);
});

test('17: a NAR that the first upstream begins late → had from the second, and the first is let go of', async (t) => {
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  const packages = Array.from({ length: 5 }, (_, i) => makePackage(`late-${i}`));
  offer(first, ...packages);
  offer(second, ...packages);
  const closed: Promise<unknown>[] = [];
  for (const { narPath } of packages) {
    first.on(narPath, (request) => void closed.push(once(request.socket, 'close')));
  }
  const service = await startTestService(t, { upstreams: [first.url, second.url], deadlines: DEADLINES });
  for (const { file, narInfoPath } of packages) {
    const { text } = await get(service.url, narInfoPath);
    assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(file));
  }
  assert.equal(closed.length, 3, 'after three late ones its NARs are not waited for');
  await Promise.all(closed);
  assert.equal(second.count((packages[4] as Package).narInfoPath), 0, 'its narinfos are as good as ever');
});

test('17: what redirects or narinfos lead to is dead → known after a few, and the other upstream has the rest', async (t) => {
  const dead = await startSilence(t);
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  const packages = Array.from({ length: 30 }, (_, i) => makePackage(`package-${i}`));
  offer(first, ...packages);
  offer(second, ...packages);
  for (const { narPath } of packages) first.on(narPath, redirect(dead.url + narPath));
  const service = await startTestService(t, { upstreams: [first.url, second.url], deadlines: DEADLINES });
  const fetchOne = async ({ file, narInfoPath }: Package) => {
    const { text } = await get(service.url, narInfoPath);
    assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(file));
  };
  for (const one of packages) await fetchOne(one);
  assert.ok(dead.sockets.total < 10, `${dead.sockets.total} connections to the dead host`);
  assert.equal(
    first.count((packages[29] as Package).narInfoPath),
    1,
    'the upstream itself is as good as ever',
  );
  await service.logged(/NARs of .*, where .* leads: believed dead/);
});

test('17: the upstream is dead, and what its narinfo leads to is not → 200', async (t) => {
  const cdn = await startUpstream(t);
  const away = makePackage('away', { url: `${cdn.url}/files/away.nar.xz` });
  cdn.on('/files/away.nar.xz', whole(away.file));
  const upstream = await startUpstream(t);
  upstream.on(away.narInfoPath, whole(away.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const { text } = await get(service.url, away.narInfoPath);
  await upstream.down();
  await askForNothing(service.url);
  assert.ok((await get(service.url, `/${field(text, 'URL')}`)).body.equals(away.file));
});

test('16: a required upstream is dead → 502 for as long as it is, also where failures are misses', async (t) => {
  for (const onUpstreamError of ['error', 'miss'] as const) {
    for (const required of [true, false]) {
      let ahead = 0;
      const other = await startUpstream(t);
      const dead = upstreamConfig(`http://127.0.0.1:${await deadPort()}`, { required });
      const service = await startTestService(t, {
        upstreams: [upstreamConfig(other.url), dead],
        now: () => performance.now() + ahead,
        config: { onUpstreamError },
      });
      await askForNothing(service.url);
      ahead += 24 * 3600_000;
      assert.deepEqual(await askForNothing(service.url, 2), required ? [502, 502] : [404, 404]);
    }
  }
});

test('36: all readers of a NAR that does not begin leave → the upstream is let go of', async (t) => {
  const upstream = await startUpstream(t);
  offer(upstream, one);
  let closed: Promise<unknown> | undefined;
  upstream.on(one.narPath, (request) => {
    closed = once(request.socket, 'close');
  });
  const service = await startTestService(t, { upstreams: [upstream.url], deadlines: DEADLINES });
  const gone = new AbortController();
  const reading = fetch(service.url + one.narPath, { signal: gone.signal }).catch(() => {});
  await upstream.asked(one.narPath);
  gone.abort();
  await reading;
  await closed;
  upstream.on(one.narPath, whole(one.file));
  assert.ok(
    (await get(service.url, one.narPath)).body.equals(one.file),
    'and whoever comes next begins anew',
  );
  assert.equal(upstream.count(one.narPath), 2);
});
