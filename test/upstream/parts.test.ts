import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError } from '../../lib/errors.ts';
import type { Answer, Part } from '../../lib/upstream/answer.ts';
import { Parts } from '../../lib/upstream/parts.ts';

const PART: Part = { start: 5, end: 10 };
const MINUTE = 60_000;

function answer(partial: boolean, size: number | undefined = 100): Answer {
  const body = { destroy: () => {}, [Symbol.asyncIterator]: () => assert.fail('read') };
  const extent = partial ? { start: 5, end: 10 } : { start: 0, end: size };
  return { ...extent, size, partial, body, delimited: true, validator: undefined };
}

type Said = Answer | undefined | Error;
const REFUSED = new CacheError('refused', 'answered 416');
const FAILED = new CacheError('upstream', 'answered 500');

/** An upstream that says `toPart` to a part and `toWhole` to the whole; `asked` has what it was asked for. */
function upstream(toPart: Said, toWhole: Said) {
  const asked: ('part' | 'whole')[] = [];
  const ask = async ({ whole, start, end }: Part) => {
    assert.deepEqual([start, end], [5, 10]);
    asked.push(whole === true ? 'whole' : 'part');
    const said = whole === true ? toWhole : toPart;
    if (said instanceof Error) throw said;
    return said;
  };
  return { asked, ask };
}

test('a part that is refused in any way is had from the whole, and then no more are asked for, for ten minutes', async () => {
  for (const [what, toPart, times] of [
    ['416', REFUSED, 1],
    ['404', undefined, 2],
    ['500', FAILED, 2],
  ] as const) {
    let now = 0;
    const parts = new Parts(() => now);
    const { asked, ask } = upstream(toPart, answer(false));
    for (let time = 0; time < times; time++) assert.equal((await parts.ask(PART, ask))?.partial, false);
    assert.equal(asked.length, 2 * times, what);
    asked.length = 0;
    now = 10 * MINUTE - 1;
    assert.equal((await parts.ask(PART, ask))?.partial, false);
    assert.deepEqual(asked, ['whole'], what);
    now++;
    await parts.ask(PART, ask);
    assert.deepEqual(asked, ['whole', 'part', 'whole'], what);
  }
});

test('whoever has not the whole either is not remembered, and says what it says of the whole', async () => {
  const parts = new Parts(() => 0);
  for (const toPart of [REFUSED, undefined, FAILED, REFUSED, undefined, FAILED]) {
    assert.equal(await parts.ask(PART, upstream(toPart, undefined).ask), undefined);
    const away = new CacheError('timeout', 'no answer');
    await assert.rejects(parts.ask(PART, upstream(toPart, away).ask), away);
  }
  // Nor whose file ends before the part: it has refused no part.
  assert.equal((await parts.ask(PART, upstream(REFUSED, answer(false, 5)).ask))?.size, 5);
  assert.equal(parts.given, undefined);
});

test('whoever gives parts may fail like anybody, and is asked for the whole only where it says no', async () => {
  const parts = new Parts(() => 0);
  assert.equal((await parts.ask(PART, upstream(answer(true), undefined).ask))?.partial, true);
  assert.equal(parts.given, undefined, 'it may be a promise only');
  parts.gave();
  assert.equal(parts.given, true);
  const failing = upstream(FAILED, answer(false));
  await assert.rejects(parts.ask(PART, failing.ask), FAILED);
  assert.deepEqual(failing.asked, ['part']);
  const saying = upstream(undefined, answer(false));
  await parts.ask(PART, saying.ask);
  assert.deepEqual(saying.asked, ['part', 'whole']);
  assert.equal(parts.given, true);
});

test('neither silence nor a proxy is an answer to a range', async () => {
  const parts = new Parts(() => 0);
  for (const code of ['timeout', 'proxy', 'aborted'] as const) {
    const error = new CacheError(code, code);
    const { asked, ask } = upstream(error, answer(false));
    await assert.rejects(parts.ask(PART, ask), error);
    assert.deepEqual(asked, ['part']);
  }
});

test('an upstream that ignores a range has neither refused nor given it', async () => {
  const parts = new Parts(() => 0);
  const { asked, ask } = upstream(answer(false), undefined);
  assert.equal((await parts.ask(PART, ask))?.partial, false);
  assert.deepEqual(asked, ['part']);
  assert.equal(parts.given, undefined);
});
