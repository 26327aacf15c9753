import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFits, sameContent } from '../../lib/nix/fits.ts';
import { type NarInfo, parseNarInfo } from '../../lib/nix/narinfo.ts';
import { makePackage, sha256 } from '../fixtures/nar.ts';

const infoOf = ({ narInfo }: { narInfo: string }) => parseNarInfo(narInfo, '/nix/store');
const fileOf = ({ file }: { file: Buffer }) => ({
  path: '/nar/x',
  size: file.length,
  sha256: sha256(file).toString('hex'),
});
const packed = makePackage('fits', { compression: 'gzip' });
const plain = makePackage('fits', { compression: 'none' });
const other = '0'.repeat(64);
const { fileHash: _, fileSize: __, ...silent } = infoOf(plain);
const untold: NarInfo = { ...silent, fileHash: undefined, fileSize: undefined };

test('what a narinfo says of its file is so, or it is not said, or the file is not known so well', () => {
  for (const one of [packed, plain]) {
    checkFits(infoOf(one), fileOf(one));
    checkFits(infoOf(one), { ...fileOf(one), sha256: undefined });
  }
  checkFits(untold, fileOf(plain));
  checkFits(
    { ...infoOf(packed), fileHash: undefined, fileSize: undefined },
    { ...fileOf(plain), sha256: other },
  );
});

for (const [what, info, nar, field] of [
  ['the size of the file', infoOf(packed), { ...fileOf(packed), size: 1 }, 'FileSize'],
  ['the hash of the file', infoOf(packed), { ...fileOf(packed), sha256: other }, 'FileHash'],
  ['the size of a NAR that is not packed', untold, { ...fileOf(plain), size: 1 }, 'NarSize'],
  ['the hash of a NAR that is not packed', untold, { ...fileOf(plain), sha256: other }, 'NarHash'],
] as const) {
  test(`${what} is compared`, () => {
    assert.throws(() => checkFits(info, nar), {
      code: 'invalid',
      message: new RegExp(`^narinfo ${field} is [0-9a-f]+, but that of /nar/x is (?:1|${other})$`),
    });
  });
}

test('narinfos are about the same if what signatures cover is the same, in whatever order', () => {
  const [a, b] = ['a', 'b'].map((name) => makePackage(name).base) as [string, string];
  const info: NarInfo = { ...infoOf(packed), references: [a, b] };
  const same: Partial<NarInfo>[] = [
    { references: [b, a] },
    { references: [a, b, a] },
    { compression: 'xz', url: 'nar/y.nar.xz', fileSize: 1, sigs: ['x-1:abc'], deriver: undefined },
  ];
  for (const change of same) assert.ok(sameContent(info, { ...info, ...change }), JSON.stringify(change));
  const different: Partial<NarInfo>[] = [
    { storePath: makePackage('b').storePath },
    { narHash: infoOf(makePackage('b')).narHash },
    { narSize: info.narSize + 1 },
    { references: [a] },
    { references: [] },
  ];
  for (const change of different)
    assert.ok(!sameContent(info, { ...info, ...change }), JSON.stringify(change));
});
