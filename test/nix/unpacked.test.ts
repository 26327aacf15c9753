import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNarInfo } from '../../lib/nix/narinfo.ts';
import { checkUnpacked, compare, Digest } from '../../lib/nix/unpacked.ts';
import { makePackage, sha256 } from '../fixtures/nar.ts';

const one = makePackage('unpacked', { compression: 'gzip', size: 300_000 });
const { narHash, narSize } = parseNarInfo(one.narInfo, '/nix/store');
const right = { compression: 'gzip', narHash, narSize } as const;

async function* inPieces(bytes: Buffer, size = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test('what passes is hashed, counted and passed on', async () => {
  const digest = new Digest();
  const passed: Buffer[] = [];
  for await (const piece of digest.through(inPieces(one.file))) passed.push(piece);
  assert.ok(Buffer.concat(passed).equals(one.file));
  assert.equal(digest.size, one.file.length);
  assert.ok(digest.end().equals(sha256(one.file)));
});

test('what is known of a NAR is compared with what is in its file, and told with the label', async () => {
  await checkUnpacked('x', right, inPieces(one.file));
  await checkUnpacked('x', { ...right, narSize: undefined }, inPieces(one.file));
  const wrong = (expected: object, message: RegExp) =>
    assert.rejects(checkUnpacked('x', { ...right, ...expected }, inPieces(one.file)), {
      code: 'invalid',
      message,
    });
  const { narHash: other } = parseNarInfo(makePackage('other').narInfo, '/nix/store');
  await wrong({ narHash: other }, /^x: NarHash is wrong: expected \w{52}, found \w{52}$/);
  await wrong({ narHash: other, narSize: undefined }, /^x: NarHash is wrong/);
  const more = narSize + 1;
  await wrong({ narSize: more }, new RegExp(`^x: NarSize is wrong: expected ${more}, found ${narSize}$`));
});

test('a NAR that is longer than was said is not unpacked to its end', async () => {
  let read = 0;
  async function* counted() {
    for await (const piece of inPieces(one.file)) {
      read += piece.length;
      yield piece;
    }
  }
  await assert.rejects(checkUnpacked('x', { ...right, narSize: 10 }, counted()), {
    message: 'x: NarSize is wrong: expected 10, found more than 10',
  });
  assert.ok(read < one.file.length / 2, `${read} of ${one.file.length} bytes`);
});

test('anything is right where nothing is known', () => {
  compare('x', 'size', undefined, 5);
  compare('x', 'size', 5, 5);
  assert.throws(() => compare('x', 'size', 4, 5), { message: 'x: size is wrong: expected 4, found 5' });
});
