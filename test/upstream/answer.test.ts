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
    [206, { 'content-length': '3' }, 'answered 206 with Content-Range "", Content-Length 3'],
    [206, { 'content-range': 'bytes 4-2/7' }, 'answered 206 with Content-Range "bytes 4-2/7"'],
    [206, { 'content-range': 'bytes 2-7/7' }, 'answered 206 with Content-Range "bytes 2-7/7"'],
    [
      206,
      { 'content-range': 'bytes 2-4/7', 'content-encoding': 'br' },
      'answered 206 with Content-Range "bytes 2-4/7", Content-Encoding br',
    ],
  ] as const) {
    assert.deepEqual(extentOf(answer(status, headers)), expected, JSON.stringify(headers));
  }
});

test('a part that was asked for, however it is said', () => {
  const asked = { start: 2, end: 5 };
  const part = { size: 7, start: 2, end: 5, partial: true, delimited: true };
  const whole = { size: 7, start: 0, end: 7, partial: false, delimited: true };
  for (const [status, headers, expected] of [
    ...[
      ...['bytes 2-4/7', 'Bytes 2-4/7', 'bytes=2-4/7', 'bytes: 2-4/7', ' bytes  2 - 4 / 7 '],
      'bytes\t2-4/7',
    ].flatMap((range) => [
      [206, { 'content-range': range }, part] as const,
      // harmonia before 3.2.
      [200, { 'content-range': range, 'content-length': '3' }, part] as const,
      [200, { 'content-range': range, 'transfer-encoding': 'chunked' }, part] as const,
    ]),
    [206, { 'content-range': 'bytes 0-4/7' }, { ...part, start: 0 }],
    [206, { 'content-range': 'bytes 2-3/7' }, { ...part, end: 4 }],
    [200, { 'content-range': 'bytes 2-3/7', 'content-length': '2' }, { ...part, end: 4 }],
    [200, { 'content-length': '7' }, whole],
    [200, { 'content-range': 'bytes 0-6/7', 'content-length': '7' }, whole],
    [200, { 'content-range': 'bytes 2-4/7', 'content-length': '7' }, whole],
    [200, { 'content-range': 'items 2-4/7', 'content-length': '7' }, whole],
    ...[
      { 'content-range': '2-4/7' },
      { 'content-range': 'bytes 2-4' },
      { 'content-range': 'bytes 3-4/7' },
      { 'content-range': 'bytes 0-1/7' },
      { 'content-range': 'bytes */7' },
      { 'content-range': 'bytes 2-4/7', 'content-length': '7' },
      { 'content-range': 'bytes 2-4/7', 'content-type': 'multipart/byteranges; boundary=x' },
      { 'content-type': 'multipart/byteranges; boundary=x' },
      { 'content-range': `bytes 2-4/${'9'.repeat(30)}` },
    ].map((headers) => [206, headers, 'unfit'] as const),
    ...[
      { 'content-range': 'bytes 3-4/7', 'content-length': '2' },
      { 'content-range': 'bytes 0-4/7', 'content-length': '5' },
      { 'content-range': 'bytes 2-5/7', 'content-length': '4' },
      { 'content-range': 'bytes 2-4/7', 'content-encoding': 'gzip' },
    ].map((headers) => [200, headers, 'unfit'] as const),
  ] as const) {
    const extent = extentOf(answer(status, headers), asked);
    const what = `${status} ${JSON.stringify(headers)}`;
    if (expected === 'unfit') assert.match(String(extent), new RegExp(`^answered ${status} with `), what);
    else assert.deepEqual(extent, expected, what);
  }
  const { size, ...unsized } = part;
  const reply = answer(206, { 'content-range': 'bytes 2-4/*' });
  assert.deepEqual(extentOf(reply, asked), { ...unsized, size: undefined });
  // To a request for the whole.
  const odd = answer(200, { 'content-range': 'bytes 2-4/7', 'content-length': '7' });
  assert.deepEqual(extentOf(odd, { ...asked, whole: true }), whole);
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
