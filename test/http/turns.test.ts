import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { Turns } from '../../lib/http/turns.ts';

/** A connection, and the answers on it; only what turns look at. */
function connection() {
  const socket = Object.assign(new EventEmitter(), { destroyed: false, destroy() {}, destroySoon() {} });
  socket.destroy = socket.destroySoon = () => {
    socket.destroyed = true;
    socket.emit('close');
  };
  const answer = () => {
    const headers: Record<string, string> = {};
    const res = Object.assign(new EventEmitter(), {
      ...{ socket: socket as unknown, headers },
      setHeader: (name: string, value: string) => {
        headers[name] = value;
      },
    });
    return res as typeof res & ServerResponse;
  };
  return { socket: socket as unknown as Socket & typeof socket, answer };
}

/** A request whose answer begins with `begin`. */
function take(turns: Turns, socket: Socket, res: ServerResponse, begin: () => void): void {
  turns.take({ socket } as IncomingMessage, res, () => {
    begin();
    return false;
  });
}

test('requests of one connection have their turns, those of others need not wait', () => {
  const turns = new Turns();
  const [one, other] = [connection(), connection()];
  const begun: string[] = [];
  for (const { socket } of [one, other]) turns.add(socket);
  const [first, second] = [one.answer(), one.answer()];
  take(turns, one.socket, first, () => begun.push('first'));
  take(turns, one.socket, second, () => begun.push('second'));
  take(turns, other.socket, other.answer(), () => begun.push('other'));
  assert.deepEqual(begun, ['first', 'other']);
  assert.ok(turns.isBusy(one.socket));
  first.emit('close');
  assert.deepEqual(begun, ['first', 'other', 'second']);
  second.emit('close');
  assert.ok(!turns.isBusy(one.socket));
});

test('nothing begins on a connection that is gone, or that nobody told of', () => {
  const turns = new Turns();
  const { answer, socket } = connection();
  const never = () => assert.fail('it began');
  take(turns, socket, answer(), never);
  turns.add(socket);
  const first = answer();
  take(turns, socket, first, () => {});
  take(turns, socket, answer(), never);
  socket.destroy();
  first.emit('close');
  take(turns, socket, answer(), never);
});

test('once it is told to stop an answer ends its connection, and one without a request ends at once', () => {
  const turns = new Turns();
  const [busy, waiting, idle] = [connection(), connection(), connection()];
  for (const { socket } of [busy, waiting, idle]) turns.add(socket);
  const [first, next] = [waiting.answer(), waiting.answer()];
  const answer = busy.answer();
  take(turns, busy.socket, answer, () => {});
  take(turns, waiting.socket, first, () => {});
  take(turns, waiting.socket, next, () => {});
  turns.stop();
  assert.deepEqual(
    [busy, waiting, idle].map(({ socket }) => socket.destroyed),
    [false, false, true],
  );
  answer.emit('close');
  assert.ok(busy.socket.destroyed);
  first.emit('close');
  assert.ok(!waiting.socket.destroyed);
  assert.equal((next as unknown as { headers: Record<string, string> }).headers.Connection, 'close');
  next.emit('close');
  assert.ok(waiting.socket.destroyed);
});
