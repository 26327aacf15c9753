import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { DialAgent } from '../../lib/wire/agent.ts';
import { defer } from '../fixtures/defer.ts';

test('a connection is used again only for the same server, and only by those who might have made it', () => {
  const agent = new DialAgent(() => Promise.reject(new Error('nobody dials')), 1);
  const target = { host: 'a.test', port: 80, tls: false, onlyPublic: false };
  const targets = [
    target,
    { ...target, host: 'b.test' },
    { ...target, port: 81 },
    { ...target, tls: true },
    { ...target, onlyPublic: true },
  ];
  assert.equal(agent.getName({ target }), agent.getName({ target: { ...target } }));
  assert.equal(new Set(targets.map((one) => agent.getName({ target: one }))).size, targets.length);
  agent.destroy();
});

test('of the kept connections the one used last is used next; half a minute idle ends them', async (t) => {
  const server = createServer((_, res) => res.end('x')).listen(0, '127.0.0.1');
  // Longer than we keep them: Node heeds what a server tells of that.
  server.keepAliveTimeout = 60_000;
  await once(server, 'listening');
  defer(t, () => server.close());
  const { port } = server.address() as AddressInfo;
  const agent = new DialAgent(async ({ host }) => {
    const socket = connect(port, host);
    await once(socket, 'connect');
    return socket;
  }, 2);
  defer(t, () => agent.destroy());
  const target = { host: '127.0.0.1', port, tls: false };
  const ask = () => {
    const args = { agent, target, dialSignal: new AbortController().signal };
    return request(args);
  };
  const end = async (req: ClientRequest): Promise<Socket> => {
    req.end();
    const [response] = await once(req, 'response');
    const { socket } = response;
    response.resume();
    await once(response, 'close');
    await immediate();
    return socket;
  };
  const both = [ask(), ask()] as const;
  await Promise.all(both.map((req) => once(req, 'socket')));
  const first = await end(both[0]);
  const last = await end(both[1]);
  assert.notEqual(first, last);
  assert.equal(await end(ask()), last);
  for (const socket of [first, last]) assert.equal(socket.timeout, 30_000);
  first.emit('timeout');
  assert.deepEqual([first.destroyed, last.destroyed], [true, false]);
});

test('a connection that has become old is not used again', async (t) => {
  let sockets = 0;
  const server = createServer((_, res) => res.end('x')).listen(0, '127.0.0.1');
  server.on('connection', () => sockets++);
  await once(server, 'listening');
  defer(t, () => server.close());
  const { port } = server.address() as AddressInfo;
  let time = 0;
  const dial = async () => {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  };
  const agent = new DialAgent(dial, 2, '', () => time);
  defer(t, () => agent.destroy());
  const target = { host: '127.0.0.1', port, tls: false };
  for (const [at, expected] of [
    [0, 1],
    [59_000, 1],
    [59_500, 1],
    // Used once more, as it was kept before; now it is let go.
    [61_000, 1],
    [61_000, 2],
    [61_000, 2],
  ] as const) {
    time = at;
    const args = { agent, target, dialSignal: new AbortController().signal };
    const req = request(args).end();
    const [response] = await once(req, 'response');
    response.resume();
    await once(response, 'close');
    await immediate();
    assert.equal(sockets, expected, `${at}`);
  }
});
