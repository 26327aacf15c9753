import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProgressLine } from '../../lib/commands/progress.ts';

const CLEAR = '\r\x1b[K';

/** What is written in a minute in which a quarter is done, told of every 50 ms. */
function minute(isTTY: boolean, columns?: number): string[] {
  let time = 0;
  const written: string[] = [];
  const out = { isTTY, columns, write: (text: string) => written.push(text) };
  const line = new ProgressLine(out as unknown as ConstructorParameters<typeof ProgressLine>[0], () => time);
  for (; time < 60_000; time += 50) line.update(0.25, (elapsedMs) => `  5 % after ${elapsedMs} ms`);
  line.clear();
  line.clear();
  return written;
}

test('a terminal has one line that changes and ends with nothing', () => {
  const written = minute(true);
  assert.equal(written.length, 300);
  for (const [index, text] of written.slice(0, -1).entries())
    assert.equal(text, `${CLEAR}[######..................]    5 % after ${(index + 1) * 200} ms`);
  assert.equal(written.at(-1), CLEAR);
});

test('no line is longer than a terminal is wide', () => {
  for (const text of minute(true, 30).slice(0, -1))
    assert.match(text.slice(CLEAR.length), /^\[######\.{18}\][^\n\r]{3}$/);
});

test('a terminal that does not know how wide it is loses nothing', () => {
  assert.deepEqual(minute(true, 0), minute(true));
});

test('anything else has a plain line every ten seconds', () => {
  assert.deepEqual(
    minute(false),
    [10, 20, 30, 40, 50].map((seconds) => `5 % after ${seconds}000 ms\n`),
  );
});
