import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
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

test('requests of one connection have their turns, those of others need not wait', () => {
  const turns = new Turns();
  const [one, other] = [connection(), connection()];
  const begun: string[] = [];
  for (const { socket } of [one, other]) turns.add(socket);
  const [first, second] = [one.answer(), one.answer()];
  turns.take(one.socket, first, () => begun.push('first'));
  turns.take(one.socket, second, () => begun.push('second'));
  turns.take(other.socket, other.answer(), () => begun.push('other'));
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
  turns.take(socket, answer(), never);
  turns.add(socket);
  const first = answer();
  turns.take(socket, first, () => {});
  turns.take(socket, answer(), never);
  socket.destroy();
  first.emit('close');
  turns.take(socket, answer(), never);
});

test('once it is told to stop an answer ends its connection, and one without a request ends at once', () => {
  const turns = new Turns();
  const [busy, waiting, idle] = [connection(), connection(), connection()];
  for (const { socket } of [busy, waiting, idle]) turns.add(socket);
  const [first, next] = [waiting.answer(), waiting.answer()];
  const answer = busy.answer();
  turns.take(busy.socket, answer, () => {});
  turns.take(waiting.socket, first, () => {});
  turns.take(waiting.socket, next, () => {});
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
