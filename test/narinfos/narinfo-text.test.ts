import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type CacheError, isCacheError } from '../../lib/errors.ts';
import { readNarInfo } from '../../lib/narinfos/narinfo-text.ts';
import type { Answer } from '../../lib/upstream/answer.ts';
import { stopClock } from '../fixtures/clock.ts';

/** A body of these chunks, which then neither ends nor falls silent for good unless it `ends`. */
function answer(chunks: readonly Buffer[], ends: boolean): Answer {
  let fail: (error: unknown) => void = () => {};
  const never = new Promise<never>((_, reject) => {
    fail = reject;
  });
  never.catch(() => {});
  const body = {
    destroy: (error?: CacheError) => fail(error),
    async *[Symbol.asyncIterator]() {
      yield* chunks;
      if (!ends) await never;
    },
  };
  return {
    ...{ body, size: undefined, start: 0, end: undefined, partial: false, delimited: true },
    validator: undefined,
  };
}

test('the text, in whatever pieces it comes', async () => {
  assert.equal(await readNarInfo(answer([Buffer.from('a: '), Buffer.from('b\n')], true), 'x'), 'a: b\n');
});

test('one that does not come to its end is given up after half a minute', async (t) => {
  const clock = stopClock(t);
  let failure: unknown;
  const reading = readNarInfo(answer([Buffer.from('a')], false), 'x').catch((error) => {
    failure = error;
  });
  await turn();
  clock.move(29_999);
  await turn();
  assert.equal(failure, undefined);
  clock.move(1);
  await reading;
  assert.ok(isCacheError(failure, 'timeout'), String(failure));
});

test('one of more than a megabyte is none', async () => {
  const megabyte = Buffer.alloc(1 << 20, 'x');
  assert.equal((await readNarInfo(answer([megabyte], true), 'x')).length, 1 << 20);
  await assert.rejects(
    readNarInfo(answer([megabyte, Buffer.from('x')], true), 'x'),
    (error) => isCacheError(error, 'upstream') && /longer than 1048576 bytes/.test(error.message),
  );
});
