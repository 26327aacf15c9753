import assert from 'node:assert/strict';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { extentOf, rangeHeader, validatorOf } from '../../lib/upstream/answer.ts';

const answer = (statusCode: number, headers: IncomingHttpHeaders) =>
  ({ statusCode, headers }) as IncomingMessage;

test('what a body is of the whole, or why that can not be told', () => {
  const whole = (size: number | undefined, delimited = true) => ({
    size,
    start: 0,
    end: size,
    partial: false,
    delimited,
  });
  const part = { start: 2, end: 5, partial: true, delimited: true };
  for (const [status, headers, expected] of [
    [200, { 'content-length': '7' }, whole(7)],
    [200, {}, whole(undefined, false)],
    [200, { 'transfer-encoding': ' Chunked' }, whole(undefined)],
    [200, { 'content-length': '7', 'content-encoding': 'gzip' }, whole(undefined)],
    [200, { 'content-length': '7', 'content-encoding': 'identity' }, whole(7)],
    [200, { 'content-length': '99999999999999999' }, 'answered 200 with Content-Length 99999999999999999'],
    [200, { 'transfer-encoding': 'gzip, chunked' }, 'answered with Transfer-Encoding "gzip, chunked"'],
    [206, { 'content-range': 'bytes 2-4/7' }, { ...part, size: 7 }],
    [206, { 'content-range': 'bytes 2-4/*' }, { ...part, size: undefined }],
    [206, { 'content-length': '3' }, 'answered 206 with Content-Range ""'],
    [206, { 'content-range': 'bytes 4-2/7' }, 'answered 206 with Content-Range "bytes 4-2/7"'],
    [206, { 'content-range': 'bytes 2-7/7' }, 'answered 206 with Content-Range "bytes 2-7/7"'],
    [
      206,
      { 'content-range': 'bytes 2-4/7', 'content-encoding': 'br' },
      'answered 206 with Content-Range "bytes 2-4/7"',
    ],
  ] as const) {
    assert.deepEqual(extentOf(answer(status, headers)), expected, JSON.stringify(headers));
  }
});

test('only a strong ETag tells the same bytes; without one, the date', () => {
  const date = 'Sun, 06 Nov 1994 08:49:37 GMT';
  for (const [etag, expected] of [
    ['"a"', '"a"'],
    ['W/"a"', date],
    ['""', date],
    [undefined, date],
  ] as const) {
    assert.equal(validatorOf(answer(200, { etag, 'last-modified': date })), expected);
  }
  assert.equal(validatorOf(answer(200, { etag: 'W/"a"' })), undefined);
});

test('a part is asked for by its last byte, or to the end', () => {
  assert.equal(rangeHeader({ start: 2, end: 5 }), 'bytes=2-4');
  assert.equal(rangeHeader({ start: 2, end: undefined }), 'bytes=2-');
});
