import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import type { Handler } from '../../lib/http/handler.ts';
import { type RunningServer, startServer } from '../../lib/http/server.ts';
import { defer, type Owner } from '../fixtures/defer.ts';
import { until } from '../fixtures/patience.ts';

async function start(
  t: Owner,
  answer: (req: IncomingMessage, res: ServerResponse) => void | Promise<void>,
): Promise<RunningServer> {
  const handler: Handler = async (req, res) => answer(req, res);
  const server = await startServer({ host: '127.0.0.1', port: 0 }, handler);
  defer(t, () => server.stop(0));
  return server;
}

async function open(t: Owner, server: RunningServer): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.on('error', () => {});
  defer(t, () => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

test('pipelined requests are answered one after the other, and none once the connection is gone', async (t) => {
  const open_: ServerResponse[] = [];
  const begun: string[] = [];
  const server = await start(t, (req, res) => {
    begun.push(req.url ?? '');
    open_.push(res);
  });
  const socket = await open(t, server);
  socket.write(GET('/a') + GET('/b') + GET('/c'));
  await until(() => begun.length > 0, 'a request');
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  assert.deepEqual(begun, ['/a']);
  open_[0]?.end('A');
  await until(() => begun.length > 1, 'the second request');
  assert.deepEqual(begun, ['/a', '/b']);
  const closed = once(open_[1] as ServerResponse, 'close');
  socket.destroy();
  await closed;
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  assert.deepEqual(begun, ['/a', '/b']);
});

test('it is idle when nothing is done any more for those whose connections were cut', async (t) => {
  let finish = (): void => {};
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  let begun = false;
  const server = await start(t, () => {
    begun = true;
    return done;
  });
  const socket = await open(t, server);
  socket.write(GET('/a'));
  await until(() => begun, 'a request');
  await server.stop(0);
  let idle = false;
  const waiting = server.idle().then(() => {
    idle = true;
  });
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  assert.equal(idle, false);
  finish();
  await waiting;
});

test('behind an answer that ends the connection no request begins', async (t) => {
  const begun: string[] = [];
  const server = await start(t, (req, res) => {
    begun.push(req.url ?? '');
    res.setHeader('Connection', 'close');
    res.end('x');
  });
  const socket = await open(t, server);
  const closed = once(socket, 'close');
  socket.resume().write(GET('/a') + GET('/b') + GET('/c'));
  await closed;
  assert.deepEqual(begun, ['/a']);
  // Node answers this by itself.
  const other = await open(t, server);
  const otherClosed = once(other, 'close');
  other.resume().write(`GET /d HTTP/1.1\r\n\r\n${GET('/e')}${GET('/f')}`);
  await otherClosed;
  assert.deepEqual(begun, ['/a']);
});

test('an expectation that nobody can meet is refused in its turn, and the connection closed', async (t) => {
  const server = await start(t, (_req, res) => void setImmediate(() => res.end('x')));
  const socket = await open(t, server);
  let received = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  const closed = once(socket, 'close');
  const expecting = `PUT /b HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: ${GET('/c').length}\r\n\r\n`;
  socket.write(GET('/a') + expecting + GET('/c') + GET('/d'));
  await closed;
  const statuses = [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '417']);
});

test('a connection that piles up requests is cut', async (t) => {
  const server = await start(t, () => {});
  const socket = await open(t, server);
  const closed = once(socket, 'close');
  socket.write(GET('/x').repeat(150));
  await closed;
});

test('nonsense behind a request never ends up in the answer to it', async (t) => {
  const answers: ServerResponse[] = [];
  const server = await start(t, (_, res) => {
    res.writeHead(200, { 'content-length': 5000 }).write('begin');
    answers.push(res);
  });
  const socket = await open(t, server);
  let received = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  socket.write(GET('/x'));
  while (!received.endsWith('begin')) await once(socket, 'data');
  const closed = once(socket, 'close');
  socket.write('no such thing as this\r\n\r\n');
  await closed;
  assert.ok(received.endsWith('begin'), received);
});

test('nonsense alone gets its status', async (t) => {
  const server = await start(t, () => {});
  const cases: [string, RegExp][] = [
    ['nonsense\r\n\r\n', /^HTTP\/1\.1 40[05] /],
    [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
  ];
  for (const [text, status] of cases) {
    const socket = await open(t, server);
    socket.setEncoding('latin1').write(text);
    assert.match(String((await once(socket, 'data'))[0]), status);
  }
});

test('a stop ends silent, half-asked and idle connections at once, and lets a running answer finish', async (t) => {
  const answers: ServerResponse[] = [];
  const server = await start(t, (req, res) => {
    if (req.url === '/idle') res.end('x');
    else answers.push(res.writeHead(200, { 'content-length': 8 }));
  });
  const silent = await open(t, server);
  const half = await open(t, server);
  half.write('GET / HTTP/1.1\r\nHo');
  const idle = await open(t, server);
  idle.write(GET('/idle'));
  await once(idle, 'data');
  const running = request(`${server.url}/running`).end();
  await until(() => answers.length > 0, 'a request');
  answers[0]?.write('half');
  const [answer] = (await once(running, 'response')) as [IncomingMessage];
  const closed = Promise.all([silent, half, idle].map((socket) => once(socket, 'close')));
  const stopped = server.stop(60_000);
  await closed;
  answers[0]?.end('rest');
  let text = '';
  for await (const chunk of answer) text += chunk;
  assert.equal(text, 'halfrest');
  await stopped;
});
