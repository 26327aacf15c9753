// No file descriptors left: what can't be answered fails as that and not as a miss, nothing ends, and it passes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { get, push } from '../fixtures/client.ts';
import { defer } from '../fixtures/defer.ts';
import { makePackage } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { output } from '../fixtures/run.ts';
import { startService } from '../fixtures/service.ts';

const held = makePackage('held', { size: 300_000 });

test('hits that find no descriptor are no misses; with descriptors again all is as before', async (t) => {
  const service = await startService(t);
  await push(service.url, held);
  // On a connection that is there already; others would not be accepted.
  const asking = await open(service.port);
  defer(t, () => asking.destroy());
  await output('prlimit', ['--pid', String(service.pid), '--nofile=64:4096']);
  const idle: Socket[] = [];
  defer(t, () => {
    for (const socket of idle) socket.destroy();
  });
  for (let i = 0; i < 100; i++) idle.push(await open(service.port));
  const status = await ask(asking, held.narPath);
  assert.notEqual(status, 404);
  assert.ok(status === 200 || status === 500, `${status}`);
  for (const socket of idle) socket.destroy();
  await until(async () => {
    const reply = await get(service.url, held.narPath).catch(() => undefined);
    assert.notEqual(reply?.status, 404);
    if (reply?.status !== 200) return false;
    assert.ok(reply.body.equals(held.file));
    return true;
  }, 'an answer, once it has noticed that the others are gone');
  assert.equal(await service.stop(), 0);
});

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** The status of the answer, whose body is not read. */
async function ask(socket: Socket, path: string): Promise<number> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return Number(chunk.toString('latin1', 9, 12));
}
