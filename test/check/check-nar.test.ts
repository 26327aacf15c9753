import assert from 'node:assert/strict';
import { test } from 'node:test';
import { difference } from '../../lib/check/check-nar.ts';
import { parseNarInfo } from '../../lib/nix/narinfo.ts';
import { makePackage, sha256 } from '../fixtures/nar.ts';

const one = makePackage('one', { compression: 'gzip' });
const info = parseNarInfo(one.narInfo, '/nix/store');
const { narHash, narSize } = info;
const facts = {
  size: one.file.length,
  sha256: sha256(one.file).toString('hex'),
  unpacked: { coding: 'gzip', result: { narHash, narSize } },
};
const other = parseNarInfo(makePackage('other').narInfo, '/nix/store').narHash;

test('signatures cover what is in a NAR, and nothing that is said of its file', () => {
  assert.equal(difference(info, facts), undefined);
  for (const [change, field, signed] of [
    [{ fileHash: other }, 'FileHash', false],
    [{ narSize: 1 }, 'NarSize', true],
    [{ narHash: other }, 'NarHash', true],
  ] as const) {
    const found = difference({ ...info, ...change }, facts);
    assert.equal(found?.signed, signed, field);
    assert.match(found?.reason ?? '', new RegExp(`^its ${field} is \\w+, but that of its NAR is \\w+$`));
  }
  const unread = { ...facts, sha256: undefined, unpacked: undefined };
  assert.match(difference({ ...info, fileSize: 1 }, unread)?.reason ?? '', /^its FileSize is 1, but/);
  assert.equal(difference({ ...info, fileSize: 1 }, facts), undefined, 'a hash tells');
  const broken = { ...facts, unpacked: { coding: 'gzip', result: { failure: 'is cut off' } } };
  assert.deepEqual(difference(info, broken), { signed: false, reason: 'its NAR is cut off' });
});
