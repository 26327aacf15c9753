import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { CacheError } from '../../lib/errors.ts';
import { dialTo, refusal } from '../fixtures/dialing.ts';
import { deadPort, get, startOrigin } from '../fixtures/origin.ts';
import { type Script, startScriptedProxy } from '../fixtures/scripted-proxy.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import { GREETING, ways } from '../fixtures/ways.ts';

test('a plain upstream is dialled directly, by name or address', async (t) => {
  const { port } = await startOrigin(t);
  for (const host of ['127.0.0.1', 'localhost']) {
    assert.equal(await get(await dialTo({ host, port })), 'GET /path');
  }
});

test('an upstream or proxy that is not there is told apart', async () => {
  const port = await deadPort();
  await refusal(dialTo({ port }), 'upstream', `connecting to 127.0.0.1:${port}: `, 'ECONNREFUSED');
  await refusal(
    dialTo({ host: 'localhost', port }),
    'upstream',
    `connecting to localhost:${port}: `,
    'ECONNREFUSED',
  );
  await refusal(
    dialTo({ host: 'no.invalid', port }),
    'upstream',
    `connecting to no.invalid:${port}: `,
    'no.invalid',
  );
  for (const scheme of ['http', 'https', 'socks5']) {
    const said = `connecting to proxy ${scheme}://127.0.0.1:${port} for cache.test:443: `;
    const proxy = `${scheme}://user:secret@127.0.0.1:${port}`;
    const error = await refusal(
      dialTo({ host: 'cache.test', port: 443, proxy }),
      'proxy',
      said,
      'ECONNREFUSED',
    );
    assert.doesNotMatch(error.message, /secret/);
  }
});

test('a connection that is not accepted in time is given up', async (t) => {
  // A listener that never runs again: the kernel takes what its queue holds, then answers nobody.
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
     });`,
    { eval: true },
  );
  t.after(() => worker.terminate());
  const [port] = (await once(worker, 'message')) as [number];
  const dialled = Array.from({ length: 8 }, () => dialTo({ port, timeoutMs: 500 }));
  const results = await Promise.allSettled(dialled);
  for (const result of results) if (result.status === 'fulfilled') result.value.destroy();
  const late = results.findIndex((result) => result.status === 'rejected');
  await refusal(dialled[late] ?? assert.fail('all were accepted'), 'timeout', 'not done within 500 ms');
  const proxy = `http://127.0.0.1:${port}`;
  await refusal(
    dialTo({ port: 443, proxy, timeoutMs: 500 }),
    'proxy',
    `connecting to proxy ${proxy}`,
    '500 ms',
  );
});

test('who gives up gets "aborted" and leaves no socket, whatever the step', async (t) => {
  const stalls: { name: string; url?: string; tls?: boolean; before: Script }[] = [
    ...ways.map((way) => ({
      ...way,
      tls: true,
      before: async (peer: Parameters<Script>[0]) => {
        await way.before(peer);
        await peer.take(5);
      },
    })),
    { name: 'CONNECT', url: 'http://', before: async (peer) => void (await peer.takeHead()) },
    { name: 'SOCKS greeting', url: 'socks5://', before: async (peer) => void (await peer.take(3)) },
    {
      name: 'SOCKS command',
      url: 'socks5://',
      before: async (peer) => {
        await peer.take(3);
        await peer.send(GREETING);
        await peer.take(10);
      },
    },
  ];
  for (const { name, url, tls = false, before } of stalls) {
    await t.test(name, async (t) => {
      const leaving = new AbortController();
      const reason = new Error('enough');
      const peer = await startScriptedProxy(t, async (peer) => {
        await before(peer);
        leaving.abort(reason);
      });
      const proxy = url === undefined ? {} : { proxy: `${url}127.0.0.1:${peer.port}` };
      const dialled = dialTo({ port: peer.port, tls, ...proxy, signal: leaving.signal });
      const error = await refusal(dialled, 'aborted', `connecting to 127.0.0.1:${peer.port} was given up`);
      assert.equal(error.cause, reason);
      await peer.closed();
    });
  }
  await t.test('before the first', async (t) => {
    const peer = await startScriptedProxy(t, () => {});
    await refusal(dialTo({ port: peer.port, signal: AbortSignal.abort() }), 'aborted');
    const leaving = new AbortController();
    const dialled = dialTo({ port: peer.port, signal: leaving.signal });
    leaving.abort();
    await refusal(dialled, 'aborted');
    await peer.closed();
  });
});

test('a connection that breaks while nobody listens breaks nothing else', async (t) => {
  const authority = makeAuthority();
  const identity = authority.issue('IP:127.0.0.1');
  for (const tls of [false, true]) {
    let reset = () => {};
    const peer = await startScriptedProxy(
      t,
      (peer) => {
        reset = () => peer.reset();
      },
      tls ? identity : undefined,
    );
    const socket = await dialTo({ port: peer.port, tls, ca: [authority.ca] });
    assert.equal(socket.listenerCount('readable') + socket.listenerCount('data'), 0);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    reset();
    await closed;
    assert.ok(socket.errored === null || !(socket.errored instanceof CacheError));
    await peer.closed();
  }
});

test('no step leaves a listener behind, but the one that keeps late errors from the process', async (t) => {
  const { port } = await startOrigin(t);
  const fresh = net.connect(port, '127.0.0.1');
  await once(fresh, 'connect');
  t.after(() => fresh.destroy());
  for (const { url, tlsTo, before } of ways) {
    if (tlsTo === 'proxy') continue;
    const peer = await startScriptedProxy(t, before);
    const leaving = new AbortController();
    const proxy = url === undefined ? {} : { proxy: `${url}127.0.0.1:${peer.port}` };
    const socket = await dialTo({ port: peer.port, ...proxy, signal: leaving.signal });
    for (const event of ['connect', 'readable', 'data', 'end', 'close']) {
      assert.equal(socket.listenerCount(event), fresh.listenerCount(event), event);
    }
    assert.equal(socket.listenerCount('error'), 1);
    assert.equal(getEventListeners(leaving.signal, 'abort').length, 0);
    leaving.abort();
    assert.ok(!socket.destroyed, 'the signal is for dialling only');
    socket.destroy();
    await peer.closed();
  }
});
