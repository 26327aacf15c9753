// A client that ends its half of the connection: by half-closing, or by leaving, which looks the same at first.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { Handler } from '../../lib/http/handler.ts';
import { startServer } from '../../lib/http/server.ts';
import { defer } from '../fixtures/defer.ts';
import { patiently } from '../fixtures/patience.ts';
import { RawClient, requestText } from '../fixtures/raw-client.ts';
import { makeAuthority } from '../fixtures/tls.ts';

const { ca, issue } = makeAuthority();
const TLS = { ...issue('DNS:localhost'), clientCa: undefined };

/** A server whose answers wait for `release`; `asked` resolves at the first request. */
async function setUp(t: TestContext, tls: boolean) {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let begin = (_left: Promise<unknown>) => {};
  const asked = new Promise<{ left: Promise<unknown> }>((resolve) => {
    begin = (left) => resolve({ left });
  });
  const handler: Handler = async (_req, res) => {
    res.setHeader('Content-Length', 6);
    begin(once(res, 'close'));
    await released;
    res.end('answer');
  };
  const server = await startServer({ host: '127.0.0.1', port: 0 }, handler, { tls: tls ? TLS : undefined });
  defer(t, () => server.stop(0));
  const port = Number(new URL(server.url).port);
  const plain = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  const socket: Socket = tls ? connectTls({ socket: plain, ca, servername: 'localhost' }) : plain;
  t.after(() => socket.destroy());
  const client = new RawClient(socket);
  await once(socket, tls ? 'secureConnect' : 'connect');
  return { asked, client, release, socket };
}

for (const [what, tls] of [
  ['plain', false],
  ['TLS', true],
] as const) {
  for (const version of ['1.0', '1.1']) {
    test(`who half-closes behind its HTTP/${version} request gets its answer, ${what}`, async (t) => {
      const { asked, client, release, socket } = await setUp(t, tls);
      socket.end(requestText(`GET /x HTTP/${version}`));
      await patiently(asked, 'the request');
      release();
      const first = await client.reply();
      // The question whether it is still there is one that clients read over.
      const reply = first.status === 100 ? await client.reply() : first;
      assert.equal(reply.status, 200);
      assert.equal(reply.body.toString(), 'answer');
      await client.closed();
    });
  }
}

test('several requests are answered in their order behind the end of the client’s half', async (t) => {
  const { client, release, socket } = await setUp(t, false);
  socket.end(requestText('GET /x HTTP/1.1').repeat(3));
  release();
  const statuses = [];
  while (statuses.length < 3) {
    const { status } = await client.reply();
    if (status !== 100) statuses.push(status);
  }
  assert.deepEqual(statuses, [200, 200, 200]);
  await client.closed();
});

test('who leaves before its answer has begun is known to have left, though nothing is sent to it', async (t) => {
  const { asked, socket } = await setUp(t, false);
  socket.write(requestText('GET /x HTTP/1.1'));
  const { left } = await patiently(asked, 'the request');
  socket.destroy();
  const started = performance.now();
  await patiently(left, 'the service to notice');
  // Silence would tell as well, in the end.
  assert.ok(performance.now() - started < 30_000);
});

test("Node's own client reads over the question", async (t) => {
  const { asked, release, socket } = await setUp(t, false);
  const outgoing = request({ createConnection: () => socket, path: '/x' }).end();
  const answer = once(outgoing, 'response');
  await patiently(asked, 'the request');
  socket.end();
  const [message] = await Promise.all([answer.then(([one]) => one), Promise.resolve().then(release)]);
  assert.equal(message.statusCode, 200);
});
