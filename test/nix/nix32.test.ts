import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseHash, sha256FromBytes, sha256ToHex } from '../../lib/nix/hash.ts';
import { decodeNix32, encodeNix32 } from '../../lib/nix/nix32.ts';
import { randomSource } from '../fixtures/random.ts';

const EMPTY = createHash('sha256').digest();
// The NarHash of the signature vector in the protocol's description.
const EMPTY_NIX32 = '0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73';

test('the SHA-256 of nothing is written as Nix writes it', () => {
  assert.equal(encodeNix32(EMPTY), EMPTY_NIX32);
  assert.deepEqual(decodeNix32(EMPTY_NIX32), EMPTY);
});

test('what is encoded decodes to itself, at every length', () => {
  const random = randomSource(1);
  for (let round = 0; round < 2000; round++) {
    const bytes = Buffer.from(Array.from({ length: round % 65 }, () => Math.floor(random() * 256)));
    const text = encodeNix32(bytes);
    assert.equal(text.length, Math.ceil((bytes.length * 8) / 5));
    assert.deepEqual(decodeNix32(text), bytes, `${bytes.toString('hex')}`);
  }
});

test('one value has one text: digits outside the alphabet, bits to spare and odd lengths are refused', () => {
  for (const text of ['e', 'o', 'u', 't', 'A', ' ', 'z'.repeat(52), 'zz', '0', '000', `${EMPTY_NIX32}00`]) {
    assert.equal(decodeNix32(text), undefined, JSON.stringify(text));
  }
});

test('a hash is read in every spelling that Nix accepts', () => {
  const expected = sha256FromBytes(EMPTY);
  const base64 = EMPTY.toString('base64');
  const hex = EMPTY.toString('hex');
  for (const text of [`sha256:${EMPTY_NIX32}`, `sha256:${hex}`, `sha256:${base64}`, `sha256-${base64}`]) {
    assert.equal(parseHash(text), expected, text);
  }
  assert.equal(sha256ToHex(expected), hex);
  assert.equal(parseHash(`sha512:${'0'.repeat(128)}`), 'other');
  const bad = [
    '',
    'sha256',
    'sha256:',
    hex,
    `sha256-${hex}`,
    `sha256:${hex}0`,
    `sha257:${hex}`,
    `sha256:${base64.slice(1)}=`,
  ];
  for (const text of bad) assert.equal(parseHash(text), undefined, text);
});

test('a digest in memory takes about what its digits take', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  const before = process.memoryUsage().heapUsed;
  const kept = Array.from({ length: 10_000 }, (_, n) => encodeNix32(Buffer.alloc(32, n)));
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / kept.length;
  assert.ok(bytes < 300, `${bytes.toFixed(0)} bytes for 52 digits`);
});
