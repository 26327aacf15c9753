import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rangeLength } from '../../lib/download/range-length.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const TABLE: [
  what: string,
  pace: number | undefined,
  unclaimed: number,
  connections: number,
  found: number,
][] = [
  ['a source nobody has measured', undefined, GIB, 4, 2 * MIB],
  ['four seconds of a link', 1000, GIB, 4, 4_000_000],
  ['the shortest, however slow', 1, GIB, 4, MIB],
  ['the longest, however fast', 1_000_000, GIB, 4, 64 * MIB],
  ['half of a fair share', 1000, 16 * MIB, 4, 2 * MIB],
  ['half of all that is left for one alone', undefined, 3 * MIB, 1, 1.5 * MIB],
  ['nothing below the shortest at the end', 1000, 2 * MIB, 4, MIB],
  ['nothing below a fifth of a second at the end', 20_000, 2 * MIB, 4, 4_000_000],
  ['a body of unknown size', 1000, Number.POSITIVE_INFINITY, 1, 4_000_000],
];
for (const [what, pace, unclaimed, connections, expected] of TABLE) {
  test(`the length of a range: ${what}`, () => {
    assert.equal(rangeLength(pace, unclaimed, connections), expected);
  });
}
