import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { isSha256, parseDigest, parseHash, sha256FromBytes } from '../../lib/nix/hash.ts';
import { encodeNix32 } from '../../lib/nix/nix32.ts';

const SIZES = { md5: 16, sha1: 20, sha256: 32, sha512: 64, blake3: 32 } as const;

for (const [algorithm, size] of Object.entries(SIZES)) {
  test(`a hash by ${algorithm} is read in every base`, () => {
    const bytes = createHash('sha512').update(algorithm).digest().subarray(0, size);
    const [hex, base64] = [bytes.toString('hex'), bytes.toString('base64')];
    for (const digits of [hex, hex.toUpperCase(), encodeNix32(bytes), base64])
      assert.deepEqual(parseDigest(`${algorithm}:${digits}`), { algorithm, bytes }, digits);
    assert.deepEqual(parseDigest(`${algorithm}-${base64}`), { algorithm, bytes });
    const expected = algorithm === 'sha256' ? sha256FromBytes(bytes) : 'other';
    assert.equal(parseHash(`${algorithm}:${hex}`), expected);
    for (const digits of [hex, encodeNix32(bytes)])
      assert.equal(parseDigest(`${algorithm}-${digits}`), undefined, 'SRI is base64 alone');
    for (const wrong of [bytes.subarray(1), Buffer.concat([bytes, bytes.subarray(0, 1)])])
      for (const base of ['hex', 'base64'] as const)
        assert.equal(parseDigest(`${algorithm}:${wrong.toString(base)}`), undefined, `${wrong.length} bytes`);
  });
}

test('a hash is nothing but its algorithm and its digits, spelt one way in each base', () => {
  const bytes = Buffer.alloc(32, 0xff);
  const [hex, base64] = [bytes.toString('hex'), bytes.toString('base64')];
  for (const text of [
    `toString:${hex}`,
    `sha256=${hex}`,
    `SHA256:${hex}`,
    `xsha-256:${hex}`,
    ` sha256:${hex}`,
    `sha256:${hex}\n`,
    `sha256:${hex} `,
    `sha256:${'g'.repeat(64)}`,
    `sha256:${base64.replace(/=$/, '')}`,
    // The same bytes to a decoder that is not strict: bits to spare, another alphabet.
    `sha256:${base64.replace(/8=$/, '9=')}`,
    `sha256:${base64.replaceAll('/', '_')}`,
  ])
    assert.equal(parseDigest(text), undefined, JSON.stringify(text));
});

test('a SHA-256 in nix32 has 52 digits of the alphabet', () => {
  const text = encodeNix32(Buffer.alloc(32, 1));
  assert.equal(isSha256(text), true);
  for (const bad of [
    '',
    encodeNix32(Buffer.alloc(20, 1)),
    text.replace(/.$/, 'e'),
    `${text}0`,
    'z'.repeat(52),
  ])
    assert.equal(isSha256(bad), false, bad);
});
