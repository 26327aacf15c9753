// Section 8 of docs/protocol.md, 8, 9, 16, 17 and 34, and the promise behind them: 404 only when the upstreams said so.
// Upstreams that fail in every way, alone and beside others, for narinfos and for NARs.
//
// Not here, because it belongs to later work: 9, 16 the configuration that turns a failure into a miss.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { get, push } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import {
  gated,
  type Handler,
  raw,
  redirect,
  reset,
  silent,
  startUpstream,
  status,
  whole,
} from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const one = makePackage('one');
const SHORT = { connectMs: 1000, firstByteMs: 1000, stallMs: 1000, narFirstByteMs: 1000 };
const S3 = '<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>';
const DENIED = S3.replace('SlowDown', 'AccessDenied');

/** Ways to fail at answering. */
const FAILURES: Record<string, Handler | 'down'> = {
  'is down': 'down',
  'never answers': silent(),
  'cuts the connection': reset(),
  'stalls within the headers': (request) => void request.socket.write('HTTP/1.1 200 OK\r\nContent-'),
  'stalls within the body': gated(Buffer.from(one.narInfo)).handler,
  'speaks no HTTP': raw('SSH-2.0-OpenSSH_9.2\r\n'),
  'ends within the headers': raw('HTTP/1.1 200 OK\r\nContent-Le'),
  'ends within the body': raw('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nStorePath: '),
  'has two lengths': raw('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nStore'),
  'redirects in a circle': (request, response) => redirect(request.url ?? '')(request, response),
  'redirects to nowhere': status(302),
  'redirects to another scheme': redirect('ftp://127.0.0.1/x'),
  'answers 204': status(204),
  'answers 206': status(206, 'StorePath', { 'content-range': 'bytes 0-8/100' }),
  'answers 304': status(304),
  'answers 400': status(400, '<html>no</html>'),
  'answers 407': status(407, '', { 'proxy-authenticate': 'Basic' }),
  'answers 429': status(429, S3, { 'retry-after': '3600' }),
  'answers 500': status(500, S3),
  'answers 501': status(501),
  'answers 503': status(503, S3, { 'retry-after': '3600' }),
  'answers 504': status(504),
};

for (const code of [404, 403, 410]) {
  test(`8: upstream ${code} → 404`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.otherwise(status(code, DENIED, { 'content-type': 'application/xml' }));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    for (const path of [one.narInfoPath, one.narPath, `/log/${one.base}.drv`]) {
      const reply = await get(service.url, path);
      assert.equal(reply.status, 404, path);
      assert.doesNotMatch(reply.text, /</);
    }
  });
}

test('9: upstream 401 → 404 or 502, never 401, no challenge handed on', async (t) => {
  const upstream = await startUpstream(t);
  upstream.otherwise(status(401, S3, { 'www-authenticate': 'Basic realm="x"' }));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const path of [one.narInfoPath, one.narPath]) {
    const reply = await get(service.url, path);
    assert.ok([404, 502].includes(reply.status), `found ${reply.status}`);
    assert.equal(reply.headers['www-authenticate'], undefined);
  }
});

// Side by side, because most of them wait for a deadline.
describe('an upstream that fails', { concurrency: 8 }, () => {
  for (const [what, failure] of Object.entries(FAILURES)) {
    test(`16: the only upstream ${what} → 502 or 504 without Retry-After, for every kind of path`, async (t) => {
      const upstream = await startUpstream(t);
      if (failure === 'down') await upstream.down();
      else upstream.otherwise(failure);
      const service = await startTestService(t, { upstreams: [upstream.url], deadlines: SHORT });
      const paths = [one.narInfoPath, one.narPath, `/log/${one.base}.drv`];
      const replies = await Promise.all(paths.map((path) => get(service.url, path)));
      for (const [index, reply] of replies.entries()) {
        // The body of a NAR or log may have begun before it failed; then the answer must not seem whole.
        if (reply.status === 200 && index > 0) assert.equal(reply.complete, false, paths[index]);
        else
          assert.ok(
            [502, 504].includes(reply.status),
            `${paths[index]}: found ${reply.status} ${reply.text}`,
          );
        assert.equal(reply.headers['retry-after'], undefined);
      }
      upstream.otherwise(status(404));
      // After three failures it is believed dead; a new process believes nothing yet.
      await service.restart();
      if (failure !== 'down')
        assert.equal((await get(service.url, one.narInfoPath)).status, 404, 'nothing kept');
    });

    test(`17: the first upstream ${what}, the second has it → 200`, async (t) => {
      const [first, second] = [await startUpstream(t), await startUpstream(t)];
      if (failure === 'down') await first.down();
      else first.otherwise(failure);
      second.on(one.narInfoPath, whole(one.narInfo));
      second.on(one.narPath, whole(one.file));
      const service = await startTestService(t, { upstreams: [first.url, second.url], deadlines: SHORT });
      const { status, text } = await get(service.url, one.narInfoPath);
      assert.equal(status, 200, text);
      assert.deepEqual((await get(service.url, `/${field(text, 'URL')}`)).body, one.file);
    });

    for (const order of ['before', 'behind']) {
      test(`16, 17: an upstream that ${what} ${order} one that says 404 → 502 or 504, not a miss`, async (t) => {
        const [failing, healthy] = [await startUpstream(t), await startUpstream(t)];
        if (failure === 'down') await failing.down();
        else failing.otherwise(failure);
        const upstreams = [failing.url, healthy.url];
        if (order === 'behind') upstreams.reverse();
        const service = await startTestService(t, { upstreams, deadlines: SHORT });
        const reply = await get(service.url, one.narInfoPath);
        assert.ok([502, 504].includes(reply.status), `found ${reply.status} ${reply.text}`);
        assert.equal(healthy.count(one.narInfoPath), 1);
      });
    }
  }
});

test('16: all of three upstreams fail, each otherwise → 502 or 504', async (t) => {
  const upstreams = [await startUpstream(t), await startUpstream(t), await startUpstream(t)];
  await upstreams[0]?.down();
  upstreams[1]?.otherwise(silent());
  upstreams[2]?.otherwise(status(500));
  const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url), deadlines: SHORT });
  for (const path of [one.narInfoPath, one.narPath]) {
    assert.ok([502, 504].includes((await get(service.url, path)).status), path);
  }
});

test('16: a narinfo can not be had, and nobody has its NAR under the path asked for → 502, not a miss', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, status(500));
  const elsewhere = makePackage('one', { url: 'elsewhere' });
  upstream.on('/elsewhere', whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const name of [one.narPath, `/nar/${one.hash}-opaque.nar.xz`]) {
    assert.equal((await get(service.url, `${name}?hash=${one.hash}`)).status, 502, name);
  }
  upstream.on(one.narInfoPath, whole(elsewhere.narInfo));
  assert.deepEqual((await get(service.url, `${one.narPath}?hash=${one.hash}`)).body, one.file);
});

test('16: the only upstream is a name that does not resolve → 502 or 504', async (t) => {
  const service = await startTestService(t, { upstreams: ['http://upstream.invalid'], deadlines: SHORT });
  assert.ok([502, 504].includes((await get(service.url, one.narInfoPath)).status));
});

test('17: upstreams are asked in their order, and no more of them than needed', async (t) => {
  const [first, second, third] = [await startUpstream(t), await startUpstream(t), await startUpstream(t)];
  for (const upstream of [second, third]) upstream.on(one.narInfoPath, whole(one.narInfo));
  second.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [first.url, second.url, third.url] });
  const { text } = await get(service.url, one.narInfoPath);
  assert.deepEqual([first.count(), second.count(), third.count()], [1, 1, 0]);
  assert.equal((await get(service.url, `/${field(text, 'URL')}`)).status, 200);
  assert.equal(first.count(one.narPath), 0, 'the NAR is asked first of the upstream its narinfo came from');
  assert.equal(third.count(), 0);
});

test('17: the upstream of the narinfo has lost the NAR, the next one has it → 200', async (t) => {
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  first.on(one.narInfoPath, whole(one.narInfo));
  second.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [first.url, second.url] });
  const { text } = await get(service.url, one.narInfoPath);
  assert.deepEqual((await get(service.url, `/${field(text, 'URL')}`)).body, one.file);
});

test('17: what is stored is served with every upstream dead, also after a restart', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const pushed = makePackage('pushed');
  await push(service.url, pushed);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  const { text } = await get(service.url, one.narInfoPath);
  await get(service.url, `/${field(text, 'URL')}`);
  await upstream.down();
  for (const again of [async () => {}, service.restart]) {
    await again();
    assert.equal((await get(service.url, one.narInfoPath)).text, text);
    for (const path of [`/${field(text, 'URL')}`, one.narPath]) {
      assert.deepEqual((await get(service.url, path)).body, one.file, path);
    }
    assert.deepEqual((await get(service.url, pushed.narPath)).body, pushed.file);
    assert.equal((await get(service.url, pushed.narInfoPath)).status, 200);
  }
});

for (const code of [301, 302, 303, 307, 308]) {
  test(`34: upstream ${code} to another host → followed, credentials dropped`, async (t) => {
    const [first, other] = [await startUpstream(t), await startUpstream(t)];
    for (const path of [one.narInfoPath, one.narPath]) {
      first.on(path, redirect(`/again${path}`, code));
      first.on(`/again${path}`, redirect(`${other.url}/x${path}?signature=abc`, code));
    }
    other.on(`/x${one.narInfoPath}`, whole(one.narInfo));
    other.on(`/x${one.narPath}`, whole(one.file));
    const credentials = { username: 'user', password: 'pässword:' };
    const upstream = upstreamConfig(first.url, { credentials });
    const service = await startTestService(t, { upstreams: [upstream] });
    const { status, text } = await get(service.url, one.narInfoPath);
    assert.equal(status, 200, text);
    assert.deepEqual((await get(service.url, `/${field(text, 'URL')}`)).body, one.file);
    const basic = `Basic ${Buffer.from('user:pässword:').toString('base64')}`;
    for (const { headers } of first.requests) assert.equal(headers.authorization, basic);
    assert.deepEqual(
      other.requests.map(({ headers }) => headers.authorization),
      [undefined, undefined],
    );
    assert.equal(service.log.join('\n').includes('pässword'), false);
  });
}

test('17: the upstream closes a kept connection as the next request comes → asked again on a new one', async (t) => {
  const upstream = await startUpstream(t);
  const used = new WeakSet<object>();
  const once =
    (handler: Handler): Handler =>
    (request, response) => {
      if (used.has(request.socket)) return void request.socket.destroy();
      used.add(request.socket);
      handler(request, response);
    };
  upstream.on(one.narInfoPath, once(whole(one.narInfo)));
  upstream.on(one.narPath, once(whole(one.file)));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
});
