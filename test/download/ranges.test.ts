import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Claim, Ranges } from '../../lib/download/ranges.ts';
import { pick, randomSource } from '../fixtures/random.ts';

test('claims are taken in order, and the front stands at the first byte that is not there', () => {
  const ranges = new Ranges(100);
  const a = ranges.claim(30) as Claim;
  const b = ranges.claim(30) as Claim;
  assert.deepEqual(
    [a, b],
    [
      { at: 0, end: 30 },
      { at: 30, end: 60 },
    ],
  );
  b.at = 60;
  ranges.release(b);
  assert.equal(ranges.front, 0);
  a.at = 10;
  assert.equal(ranges.front, 10);
  ranges.release(a);
  assert.deepEqual(ranges.claim(100), { at: 10, end: 30 });
  assert.equal(ranges.unclaimed, 40);
});

test('a claim can be split, extended, and ended where an unknown size turns out to be', () => {
  const ranges = new Ranges(100);
  const a = ranges.claim(100) as Claim;
  a.at = 20;
  assert.deepEqual(
    ranges.split(() => true),
    { at: 60, end: 100 },
  );
  assert.equal(a.end, 60);
  assert.equal(
    ranges.split(() => false),
    undefined,
  );
  a.at = 60;
  assert.equal(ranges.extend(a), false);
  const unsized = new Ranges(Number.POSITIVE_INFINITY);
  const all = unsized.claim(Number.POSITIVE_INFINITY) as Claim;
  assert.equal(
    unsized.split(() => true),
    undefined,
  );
  all.at = 7;
  assert.ok(unsized.endless);
  unsized.endsAt(9);
  assert.ok(!unsized.endless);
  assert.equal(all.end, 9);
  unsized.release(all);
  assert.equal(unsized.front, 7);
  assert.equal(unsized.unclaimed, 2);
  unsized.endsAt(7);
  assert.equal(unsized.front, 7);
  assert.ok(unsized.complete);
});

test('what is there already is never missing again, whatever length is claimed', () => {
  const ranges = new Ranges(100, 40);
  const claim = ranges.claim(-10) as Claim;
  assert.deepEqual(claim, { at: 40, end: 40 });
  assert.equal(ranges.front, 40);
  ranges.release(claim);
  assert.deepEqual(ranges.claim(100), { at: 40, end: 100 });
});

test('an empty body is complete from the start', () => {
  assert.ok(new Ranges(0).complete);
  assert.equal(new Ranges(0).front, 0);
});

test('whatever the order of claims, failures and helpers, every byte is written once', () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = randomSource(seed);
    const size = 1 + Math.floor(random() * 500);
    const ranges = new Ranges(size);
    const written = new Uint8Array(size);
    const claims = new Set<Claim>();
    const steps: Record<string, () => void> = {
      claim: () => {
        const claim = ranges.claim(1 + Math.floor(random() * 100));
        if (claim) claims.add(claim);
      },
      split: () => {
        const claim = ranges.split(() => random() < 0.5);
        if (claim) claims.add(claim);
      },
      advance: () => {
        const claim = pick(random, [...claims]);
        if (!claim) return;
        const to = Math.min(claim.end, claim.at + Math.floor(random() * 60));
        while (claim.at < to) written[claim.at] = (written[claim.at++] ?? 0) + 1;
      },
      release: () => {
        const claim = pick(random, [...claims]);
        if (!claim) return;
        claims.delete(claim);
        ranges.release(claim);
      },
      extend: () => {
        const claim = pick(random, [...claims]);
        if (claim && claim.at >= claim.end) ranges.extend(claim);
      },
    };
    for (let round = 0; !ranges.complete; round++) {
      assert.ok(round < 100_000, `seed ${seed} does not end`);
      pick(random, Object.values(steps))();
      const gap = written.indexOf(0);
      assert.equal(ranges.front, gap < 0 ? size : gap, `seed ${seed}`);
    }
    assert.deepEqual(new Set(written), new Set([1]), `seed ${seed}`);
  }
});
