// Who is told of the end of an answer, and of what kind it was.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { isOut, leaving, whenClosed, whenOver } from '../../lib/http/ended.ts';

/** An answer that is being made, and who asked for it. */
async function asked(t: TestContext): Promise<{ res: ServerResponse; client: Socket }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => {});
  t.after(() => {
    client.destroy();
    server.close();
    server.closeAllConnections();
  });
  client.write('GET / HTTP/1.1\r\nHost: cache.test\r\n\r\n');
  const [, res] = (await once(server, 'request')) as [unknown, ServerResponse];
  return { res, client };
}

/** More than the kernel takes for somebody who reads nothing. */
const MUCH = Buffer.alloc(64 << 20);

test('a small answer is out when it is ended, and told of as whole, once', async (t) => {
  const { res } = await asked(t);
  const told: boolean[] = [];
  let over = 0;
  whenOver(res, (whole) => told.push(whole));
  whenClosed(res)(() => over++);
  assert.ok(!isOut(res));
  res.end('small');
  assert.ok(isOut(res));
  await once(res, 'close');
  assert.deepEqual([told, over], [[true], 1]);
  whenClosed(res)(() => over++);
  assert.equal(over, 2, 'that it has ended is told at once');
});

test('an answer that a client leaves in the middle is not out, and not whole', async (t) => {
  const { client, res } = await asked(t);
  const told: boolean[] = [];
  let over = 0;
  whenOver(res, (whole) => told.push(whole));
  whenClosed(res)(() => over++);
  client.pause();
  res.end(MUCH);
  assert.ok(!isOut(res));
  const closed = once(res, 'close');
  client.destroy();
  await closed;
  assert.deepEqual([told, over], [[false], 1]);
});

test('an answer that is large is whole when the client has it', async (t) => {
  const { client, res } = await asked(t);
  const told: boolean[] = [];
  whenOver(res, (whole) => told.push(whole));
  res.end(MUCH);
  assert.ok(!isOut(res));
  client.resume();
  await once(res, 'close');
  assert.deepEqual(told, [true]);
});

test('the signal is one, whoever asks for it, and aborted at the end, also for those who come late', async (t) => {
  const { client, res } = await asked(t);
  const [left, late] = [leaving(res), leaving(res)];
  const signal = left();
  assert.equal(left(), signal);
  assert.ok(!signal.aborted);
  const closed = once(res, 'close');
  client.destroy();
  await closed;
  assert.ok(signal.aborted && late().aborted);
  assert.match(String(signal.reason), /the client has left/);
});
