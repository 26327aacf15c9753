// Lines that are what they seem to be, whatever was written into them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog, printable, warnSeldom } from '../lib/log.ts';

test('one event is one line: time, level, message', () => {
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line));
  log.warn('a\nb\r\x1b[2J');
  assert.match(lines.join(''), /^\d{4}-\d\d-\d\dT[\d:.]+Z warn a\\x0ab\\x0d\\x1b\[2J\n$/);
});

test('controls, and what turns text around or is not seen, are written out; everything else stays', () => {
  const cases: Record<string, string> = {
    '\0\x07\x7f\x85\x9b': '\\x00\\x07\\x7f\\x85\\x9b',
    '\u2028\u2029': '\\u{2028}\\u{2029}',
    'a\u202eb\u2066\u200b\ufeff': 'a\\u{202e}b\\u{2066}\\u{200b}\\u{feff}',
    '\u{e0041}': '\\u{e0041}',
    'ключ, 鍵, é, \u{1f511} \\x1b': 'ключ, 鍵, é, \u{1f511} \\x1b',
  };
  for (const [text, expected] of Object.entries(cases)) assert.equal(printable(text), expected);
});

test('a cause that lasts is told of once a minute, with how often it has come', (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const said: string[] = [];
  const warn = warnSeldom({ info: () => {}, warn: (line) => said.push(line), error: () => {} });
  for (const [at, cause, message] of [
    [0, 'disk', 'a'],
    [1, 'disk', 'b'],
    [2, 'other', 'c'],
    [59_999, 'disk', 'd'],
    [60_000, 'disk', 'e'],
    [120_000, 'disk', 'f'],
  ] as const) {
    now = at;
    warn(cause, message);
  }
  assert.deepEqual(said, ['a', 'c', 'e (2 more like it before)', 'f']);
});

test('causes are forgotten again, however many different ones there are', () => {
  const said: string[] = [];
  const warn = warnSeldom({ info: () => {}, warn: (line) => said.push(line), error: () => {} });
  for (let i = 0; i <= 1000; i++) warn(`cause ${i}`, `${i}`);
  warn('cause 1000', 'known');
  warn('cause 0', 'forgotten');
  assert.deepEqual(said.slice(1000), ['1000', 'forgotten']);
});

test('the time of a line is that at which it was written', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1 });
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line));
  log.info('a');
  log.info('b');
  t.mock.timers.tick(1);
  log.often?.('c');
  assert.deepEqual(lines, [
    '1970-01-01T00:00:00.001Z info a\n',
    '1970-01-01T00:00:00.001Z info b\n',
    '1970-01-01T00:00:00.002Z info c\n',
  ]);
});
