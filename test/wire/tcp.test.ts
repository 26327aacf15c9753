import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import { connectTcp } from '../../lib/wire/tcp.ts';
import { startBlackHole } from '../fixtures/black-hole.ts';
import { deadPort } from '../fixtures/origin.ts';

const step = (signal = new AbortController().signal) =>
  ({ doing: 'connecting', code: 'upstream', late: 'timeout', signal }) as const;
const addresses = (...all: string[]) =>
  all.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

/** Listens at the address; the connections that it has. */
async function listen(t: TestContext, host: string, port: number): Promise<Set<unknown>> {
  const sockets = new Set<unknown>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).once('close', () => sockets.delete(socket));
  });
  server.listen(port, host);
  await once(server, 'listening');
  t.after(() => server.close());
  return sockets;
}

test('an address that does not answer has another beside it soon, and the loser is let go', async (t) => {
  const port = await startBlackHole(t);
  await listen(t, '127.0.0.2', port);
  const started = performance.now();
  const socket = await connectTcp(addresses('127.0.0.1', '127.0.0.2'), port, step());
  assert.equal(socket.remoteAddress, '127.0.0.2');
  assert.ok(performance.now() - started >= 240, 'the first has some time to itself');
  socket.destroy();
});

test('many that do not answer are not waited for one after the other', async (t) => {
  const port = await startBlackHole(t);
  await listen(t, '127.0.0.2', port);
  const all = addresses('127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.2');
  const started = performance.now();
  const socket = await connectTcp(all, port, step());
  // The kernel would go on for minutes, and a second for each were four.
  assert.ok(performance.now() - started < 3000);
  socket.destroy();
});

test('one that refuses is left at once', async (t) => {
  const port = await deadPort();
  await listen(t, '127.0.0.3', port);
  const all = addresses('127.0.0.1', '127.0.0.2', '127.0.0.3');
  const started = performance.now();
  const socket = await connectTcp(all, port, step());
  assert.equal(socket.remoteAddress, '127.0.0.3');
  assert.ok(performance.now() - started < 240);
  socket.destroy();
});

test('when all fail, each says why', async () => {
  const port = await deadPort();
  await assert.rejects(connectTcp(addresses('127.0.0.1', '127.0.0.2'), port, step()), (error) => {
    assert.ok(isCacheError(error, 'upstream'));
    assert.match(error.message, new RegExp(`^connecting: .*127.0.0.1:${port}; .*127.0.0.2:${port}$`));
    return true;
  });
});

test('whoever gives up leaves no connection', async (t) => {
  const port = await startBlackHole(t);
  const leaving = new AbortController();
  const reason = new CacheError('aborted', 'enough');
  const connecting = connectTcp(addresses('127.0.0.1', '127.0.0.1'), port, step(leaving.signal));
  setTimeout(() => leaving.abort(reason), 300);
  await assert.rejects(connecting, (error) => error === reason);
  const busy = process.getActiveResourcesInfo().filter((name) => name === 'TCPConnectWrap');
  // One of them is the test's own knock.
  assert.ok(busy.length <= 1, `${busy}`);
});
