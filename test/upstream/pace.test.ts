import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace } from '../../lib/upstream/pace.ts';

const MIB = 2 ** 20;

test('nobody knows the pace of an upstream that has sent nothing', () => {
  const pace = new Pace();
  pace.note(0, 1000);
  assert.equal(pace.bytesPerMs, undefined);
});

test('the first measure counts as it is, and no time at all as a millisecond', () => {
  for (const [bytes, ms, found] of [
    [1000, 10, 100],
    [1000, 0.1, 1000],
    [1000, 0, 1000],
  ] as const) {
    const pace = new Pace();
    pace.note(bytes, ms);
    assert.equal(pace.bytesPerMs, found, `${bytes} bytes in ${ms} ms`);
  }
});

test('4 MiB count as much as all before them, a little counts little, silence nothing', () => {
  const pace = new Pace();
  pace.note(4 * MIB, (4 * MIB) / 100);
  pace.note(4 * MIB, (4 * MIB) / 200);
  assert.equal(pace.bytesPerMs, 150);
  pace.note(0, 10_000);
  assert.equal(pace.bytesPerMs, 150);
  pace.note(1000, 1000);
  assert.ok(Math.abs((pace.bytesPerMs ?? 0) - 150) < 0.1);
});

test('an upstream that has become slow is known as such before a range of it has ended', () => {
  const pace = new Pace();
  pace.note(64 * MIB, 6400);
  for (let bytes = 0; bytes < 12 * MIB; bytes += MIB / 4) pace.note(MIB / 4, 250);
  const slow = MIB / 1000;
  assert.ok((pace.bytesPerMs ?? 0) < 2 * slow, `${pace.bytesPerMs} bytes a millisecond, and ${slow} now`);
});
