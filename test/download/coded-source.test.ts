import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { codedSource } from '../../lib/download/coded-source.ts';
import { CacheError } from '../../lib/errors.ts';
import type { CacheEvent } from '../../lib/events.ts';
import type { Answer, Part } from '../../lib/upstream/answer.ts';
import { fakeSource } from '../fixtures/fake-source.ts';

const MIB = 2 ** 20;
const { signal } = new AbortController();
const OPENING: Part = { start: 0, end: MIB, connections: 4 };

interface Body {
  readonly pieces: readonly (Buffer | Error)[];
  /** Resolves when the body has been read to its end, or was let go. */
  readonly over?: (how: 'ended' | 'destroyed') => void;
}

/** A source whose answers are coded, of those pieces once decoded; the last may be what it breaks off with. */
function start({ pieces, over = () => {} }: Body, { size = 10, partial = false } = {}) {
  const asked: (Part | undefined)[] = [];
  const events: CacheEvent[] = [];
  let read = 0;
  async function* send(): AsyncGenerator<Buffer> {
    for (const piece of pieces) {
      read++;
      if (piece instanceof Error) throw piece;
      yield piece;
    }
    over('ended');
  }
  const answer: Answer = {
    body: { [Symbol.asyncIterator]: send, destroy: () => over('destroyed') },
    ...{ size: undefined, start: 0, end: undefined, partial, delimited: true, validator: undefined },
    undone: partial ? undefined : 'gzip',
  };
  const plain = fakeSource('source', Buffer.alloc(0));
  const ask = async (_signal: AbortSignal, part?: Part) => {
    asked.push(part);
    return answer;
  };
  const source = codedSource({ ...plain, ask }, size, (event) => events.push(event));
  const { coding } = plain.upstream;
  return { source, asked, events, coding, read: () => read };
}

async function all(answer: Answer | undefined): Promise<string> {
  const got: Buffer[] = [];
  for await (const piece of answer?.body ?? []) got.push(piece);
  return Buffer.concat(got).toString();
}

const pieces = (...texts: string[]) => texts.map((text) => Buffer.from(text));

test('nothing is read behind the size, and what is beyond it is cut off', async () => {
  const { source, read } = start({ pieces: pieces('01234', '56789+', 'bomb', 'bomb') });
  const answer = await source.ask(signal);
  assert.equal(await all(answer), '0123456789');
  assert.equal(read(), 2);
});

test('the end behind the last byte is waited for by nobody, and keeps the connection', async () => {
  const ends: string[] = [];
  const { source } = start({ pieces: pieces('0123456789'), over: (how) => ends.push(how) });
  const answer = await source.ask(signal);
  assert.equal(await all(answer), '0123456789');
  assert.deepEqual(ends, []);
  answer?.body.destroy();
  await new Promise(setImmediate);
  assert.deepEqual(ends, ['ended']);
});

test('more than the end behind the last byte is let go', async () => {
  const ends: string[] = [];
  const { source } = start({ pieces: pieces('0123456789', '+', '+'), over: (how) => ends.push(how) });
  const answer = await source.ask(signal);
  await all(answer);
  answer?.body.destroy();
  await new Promise(setImmediate);
  assert.deepEqual(ends, ['destroyed']);
});

test('an end that does not come is let go after a second', async (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const ends: string[] = [];
  const { source } = start({ pieces: pieces('0123456789') });
  const answer = (await source.ask(signal)) as Answer;
  const endless: Answer = {
    ...answer,
    undone: 'gzip',
    body: {
      destroy: () => ends.push('destroyed'),
      async *[Symbol.asyncIterator]() {
        yield Buffer.from('0123456789');
        await new Promise(() => {});
      },
    },
  };
  const waiting = codedSource({ ...source, ask: async () => endless }, 10, () => {});
  const given = await waiting.ask(signal);
  for await (const _ of given?.body ?? []) break;
  given?.body.destroy();
  t.mock.timers.tick(999);
  assert.deepEqual(ends, []);
  t.mock.timers.tick(1);
  assert.deepEqual(ends, ['destroyed']);
});

test('what can not be decoded is noted, and what breaks off is not', async () => {
  const broken = new CacheError('upstream', 'reset');
  const odd = new CacheError('upstream', 'odd', new CacheError('invalid', 'no gzip'));
  for (const [error, isOffered] of [
    [broken, true],
    [odd, false],
  ] as const) {
    const { coding, source } = start({ pieces: [error] });
    const answer = await source.ask(signal);
    await assert.rejects(all(answer), error);
    assert.equal(coding.isOffered, isOffered, error.message);
  }
});

test('a large NAR is asked for as a whole where coded answers were faster than all connections, and that is told', async () => {
  const { asked, coding, events, source } = start({ pieces: pieces('0123456789') }, { partial: true });
  await source.ask(signal, OPENING);
  assert.deepEqual([asked.pop(), events], [OPENING, []], 'nothing is known');
  coding.note({ bytes: 10 * MIB, received: MIB, ms: 1000 });
  coding.noteParts(10 * MIB, 2000);
  await source.ask(signal, OPENING);
  assert.equal(asked.pop(), undefined);
  const told = { kind: 'manner-chosen', source: 'source', coded: (10 * MIB) / 1000, parts: (5 * MIB) / 1000 };
  assert.deepEqual(events.pop(), { ...told, manner: 'coded' });
  coding.noteParts(10 * MIB, 500);
  await source.ask(signal, OPENING);
  assert.deepEqual(asked.pop(), OPENING);
  assert.deepEqual(events.pop(), { ...told, manner: 'parts', parts: (20 * MIB) / 1000 });
});

test('what goes on behind a beginning, or is the next part, is asked for as it is', async () => {
  const { asked, coding, source } = start({ pieces: [] }, { partial: true });
  coding.ignoredPart();
  for (const part of [
    { start: 1, end: MIB, connections: 4 },
    { start: 0, end: MIB },
    { start: 5, end: undefined, whole: true },
  ]) {
    await source.ask(signal, part);
    assert.deepEqual(asked.pop(), part);
  }
});

test('one that answers the first part with the whole is asked for that the next time', async () => {
  const { asked, coding, source } = start({ pieces: pieces('0123456789') });
  await source.ask(signal, OPENING);
  assert.deepEqual(asked.pop(), OPENING);
  assert.equal(coding.choose(4, { bytesPerMs: undefined }).manner, 'coded');
  await source.ask(signal, OPENING);
  assert.equal(asked.pop(), undefined);
});
