import assert from 'node:assert/strict';
import { test } from 'node:test';
import { basenameIn, hashPartOf, isBasename, isStoreHash } from '../../lib/nix/store-path.ts';

const HASH = '0123456789abcdfghijklmnpqrsvwxyz';

test('the hash part is 32 digits of nix32 and nothing else', () => {
  assert.equal(isStoreHash(HASH), true);
  for (const bad of [HASH.slice(1), `${HASH}0`, ` ${HASH}`, `${HASH}\n`, ...'eotuA-'].map((one) =>
    one.length === 1 ? HASH.replace('0', one) : one,
  ))
    assert.equal(isStoreHash(bad), false, JSON.stringify(bad));
});

test('a name has from 1 to 211 of the characters that Nix allows', () => {
  for (const name of [
    'a',
    'Z',
    '0',
    '+',
    '-',
    '_',
    '?',
    '=',
    '.a',
    '..a',
    '...',
    '-.',
    'a.',
    'a'.repeat(211),
  ]) {
    assert.equal(isBasename(`${HASH}-${name}`), true, name);
    assert.equal(hashPartOf(`${HASH}-${name}`), HASH);
  }
  for (const name of ['', 'a'.repeat(212), 'a/b', 'a b', 'a\n', 'ä', 'a!', '~', 'a\0'])
    assert.equal(isBasename(`${HASH}-${name}`), false, JSON.stringify(name));
  for (const bad of [HASH, `${HASH}_a`, `x${HASH}-a`, `${HASH.slice(1)}-a`, `${HASH.replace('0', 'e')}-a`])
    assert.equal(isBasename(bad), false, bad);
});

test('a name is no `.` or `..`, nor one of these with a dash behind it', () => {
  for (const name of ['.', '..', '.-', '..-', '.-a', '..-a'])
    assert.equal(isBasename(`${HASH}-${name}`), false, name);
});

test('a store path lies in the store directory, and not below another path of it', () => {
  const base = `${HASH}-a`;
  assert.equal(basenameIn('/nix/store', `/nix/store/${base}`), base);
  for (const path of [
    base,
    `/nix/store${base}`,
    `/nix/stores/${base}`,
    `/nix/storex${base}`,
    `/gnu/store/${base}`,
    `/nix/store//${base}`,
  ])
    assert.equal(basenameIn('/nix/store', path), undefined, path);
  for (const path of ['/nix/store/', '/nix/store/x', `/nix/store/${base}/bin`, `/nix/store/x/${base}`])
    assert.equal(basenameIn('/nix/store', path), undefined, path);
});
