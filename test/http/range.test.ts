import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRange } from '../../lib/http/range.ts';

const CASES: [header: string | undefined, size: number, expected: ReturnType<typeof parseRange>][] = [
  [undefined, 10, undefined],
  ['bytes=0-', 10, { start: 0, end: 10 }],
  ['bytes=3-', 10, { start: 3, end: 10 }],
  ['bytes=3-3', 10, { start: 3, end: 4 }],
  ['bytes=3-99', 10, { start: 3, end: 10 }],
  ['bytes=-3', 10, { start: 7, end: 10 }],
  ['bytes=-99', 10, { start: 0, end: 10 }],
  ['Bytes=1-2', 10, { start: 1, end: 3 }],
  ['bytes=10-', 10, 'unsatisfiable'],
  ['bytes=99-100', 10, 'unsatisfiable'],
  ['bytes=-0', 10, 'unsatisfiable'],
  ['bytes=0-', 0, 'unsatisfiable'],
  ['bytes=-1', 0, 'unsatisfiable'],
  ['bytes=5-3', 10, undefined],
  ['bytes=-', 10, undefined],
  ['bytes=', 10, undefined],
  ['bytes=a-b', 10, undefined],
  ['bytes=0-1,3-4', 10, undefined],
  ['items=0-1', 10, undefined],
  ['bytes=1.5-2', 10, undefined],
  ['bytes=99999999999999999999-', 10, 'unsatisfiable'],
];

test('a range header means what RFC 9110 says, and everything else means the whole body', () => {
  for (const [header, size, expected] of CASES) {
    assert.deepEqual(parseRange(header, size), expected, `${header} of ${size}`);
  }
});
