import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tidyHead } from '../../lib/wire/tidy-head.ts';

test('an equal length is said once, and everything else stays as it is', () => {
  const head = (...lines: string[]) =>
    `HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
  for (const [given, expected] of [
    [head('Content-Length: 5', 'X: y', 'content-length:5 '), head('Content-Length: 5', 'X: y')],
    [head('Content-Length: 5, 5'), head('Content-Length: 5')],
    [head('Content-Length: 5', 'Content-Length: 5', 'Content-Length: 5'), head('Content-Length: 5')],
    [head('Content-Length: 5', 'Content-Length: 6'), head('Content-Length: 5', 'Content-Length: 6')],
    [head('Content-Length: 5, 6'), head('Content-Length: 5, 6')],
    [head('Content-Length: 5', 'Content-Length: 05'), head('Content-Length: 5', 'Content-Length: 05')],
    [head('X-Content-Length: 5', 'Content-Length: -5'), head('X-Content-Length: 5', 'Content-Length: -5')],
    [head('X: Content-Length: 5'), head('X: Content-Length: 5')],
  ])
    assert.equal(tidyHead(given as string), expected);
});
