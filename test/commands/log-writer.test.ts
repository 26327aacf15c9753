// Where the log's lines go: in order, many at once, and never more of them in memory than a bound.
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { LogWriter } from '../../lib/commands/log-writer.ts';

/** A stream that takes what it is given, or, while it is `blocked`, nothing. */
function stream() {
  const writes: string[] = [];
  const state = { blocked: false, go: () => {} };
  const sink = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      writes.push(chunk);
      if (state.blocked) state.go = done;
      else done();
    },
  });
  return { sink, state, writes };
}

test('lines that may wait a moment are written together, and in their order with the others', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { sink, writes } = stream();
  const writer = new LogWriter(sink);
  writer.writeSoon('a\n');
  writer.writeSoon('b\n');
  assert.deepEqual(writes, []);
  writer.write('c\n');
  assert.deepEqual(writes, ['a\nb\nc\n']);
  writer.writeSoon('d\n');
  t.mock.timers.tick(5);
  assert.deepEqual(writes, ['a\nb\nc\n', 'd\n']);
  writer.writeSoon('e\n');
  writer.flush();
  t.mock.timers.tick(5);
  assert.deepEqual(writes.slice(2), ['e\n']);
});

test('no more is gathered than a few kilobytes', () => {
  const { sink, writes } = stream();
  const writer = new LogWriter(sink);
  const line = `${'x'.repeat(99)}\n`;
  for (let i = 0; i < 200; i++) writer.writeSoon(line);
  assert.equal(writes.length, 1);
  writer.flush();
  assert.equal(writes.join(''), line.repeat(200));
});

test('what nobody reads does not fill the memory, and who reads again is told what is missing', async () => {
  const { sink, state, writes } = stream();
  const writer = new LogWriter(sink);
  state.blocked = true;
  const line = `${'x'.repeat(999)}\n`;
  for (let i = 0; i < 3000; i++) writer.write(line);
  assert.ok(sink.writableLength < 1.1 * 2 ** 20, `${sink.writableLength} characters wait`);
  state.blocked = false;
  state.go();
  await new Promise(setImmediate);
  writer.write('again\n');
  const text = writes.join('');
  const [, lost] = /^\S+ warn (\d+) lines are missing here: nobody read the log\nagain\n$/m.exec(text) ?? [];
  assert.equal(text.split(line).length - 1 + Number(lost), 3000);
});
