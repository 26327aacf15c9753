import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cacheControl, isSameFile, isUnchanged } from '../../lib/http/caching.ts';

const modified = new Date('2026-11-28T10:20:30.456Z');
const [SAME, BEFORE, AFTER] = [
  'Sat, 28 Nov 2026 10:20:30 GMT',
  'Sat, 28 Nov 2026 10:20:29 GMT',
  'Sat, 28 Nov 2026 10:20:31 GMT',
];
const both = { etag: '"a"', modified };

for (const [headers, expected] of [
  [{}, false],
  [{ 'if-none-match': '"a"' }, true],
  [{ 'if-none-match': 'W/"a"' }, true],
  [{ 'if-none-match': '"b", "a"' }, true],
  [{ 'if-none-match': '*' }, true],
  [{ 'if-none-match': '"b"' }, false],
  [{ 'if-none-match': 'a' }, false],
  [{ 'if-none-match': '' }, false],
  [{ 'if-modified-since': SAME }, true],
  [{ 'if-modified-since': AFTER }, true],
  [{ 'if-modified-since': BEFORE }, false],
  [{ 'if-modified-since': 'yesterday' }, false],
  // RFC 9110, 13.1.3: the date is ignored beside an ETag.
  [{ 'if-none-match': '"b"', 'if-modified-since': SAME }, false],
] as const) {
  test(`with ${JSON.stringify(headers)} the client ${expected ? 'has' : 'lacks'} what there is`, () => {
    assert.equal(isUnchanged(headers, both), expected);
  });
}

test('what has neither ETag nor date is never known to be unchanged', () => {
  const none = { etag: undefined, modified: undefined };
  assert.equal(isUnchanged({ 'if-none-match': '*' }, none), false);
  assert.equal(isUnchanged({ 'if-modified-since': AFTER }, none), false);
});

for (const [condition, expected] of [
  [undefined, true],
  ['"a"', true],
  [SAME, true],
  ['"b"', false],
  // RFC 9110, 13.1.5: a weak ETag never matches, and a date only exactly.
  ['W/"a"', false],
  [AFTER, false],
  [BEFORE, false],
  ['soon', false],
] as const) {
  test(`If-Range ${condition} → ${expected ? 'a part' : 'the whole'}`, () => {
    assert.equal(isSameFile(condition, both), expected);
  });
}

test('a protected answer is for nobody but who asked', () => {
  assert.equal(cacheControl(true, true), 'public, max-age=31536000, immutable');
  assert.equal(cacheControl(true, false), 'private, max-age=31536000, immutable');
  assert.match(cacheControl(false, true), /^public, max-age=\d{1,3}$/);
  assert.match(cacheControl(false, false), /^private, max-age=\d{1,3}$/);
});
