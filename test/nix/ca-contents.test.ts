import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { type CaContents, caContents } from '../../lib/nix/ca-contents.ts';
import { isContentAddressed } from '../../lib/nix/content-address.ts';
import { sha256FromBytes } from '../../lib/nix/hash.ts';
import { type NarInfo, parseNarInfo } from '../../lib/nix/narinfo.ts';
import { type Node, nar, sha256 } from '../fixtures/nar.ts';

const file = (text: string): Node => ({ type: 'regular', contents: Buffer.from(text) });
const A = file('hello file\n');
const D: Node = { type: 'directory', entries: { f: file('in d\n') } };
const OWN = '/mnt/store/2g2alkg364r6b7qsybiflx4hixqmgygi-selfy';
/** The same in Nix 2.26 and 2.34. */
const NEWER = '/nix/store/3ylzw6vawa8d9iw69d0x37j6nvhbpma8-selfish';

// Made by Nix 2.8.0: nix-store --add-fixed [--recursive], builtins.toFile and nix store make-content-addressed.
const MADE_BY_NIX: readonly (readonly [path: string, ca: string, contents: Node])[] = [
  ['/nix/store/m2h8aw9phygggk5p18d9gdgzirmg97m7-a.txt', 'fixed:md5:2apn8nm21zwrhad2faj2d1rwhl', A],
  ['/nix/store/j4kad7l95h14b2x97prjlf2z61l6mwl4-a.txt', 'fixed:sha1:64slqyi5950r1g4dw1362657mksf45mq', A],
  [
    '/nix/store/yyv77215ak3xcfv29yvwmsc2i7s02s9p-a.txt',
    'fixed:sha256:0zry3bax9v4b4hijmyq7j1m7j9rlm0rj7g9l2kpz7i189cp7savh',
    A,
  ],
  [
    '/nix/store/0j1bphr2fcb7avyhxdr4m1gg0l4sk0ja-a.txt',
    'fixed:sha512:2mlkfsfd99n1lvdfmfj0qs2idkqq172v75q2v4zgybbmp7sxx9c7f48x0gi46l2z0ljz6rrh163qvxch1769lmv3a9w9d31m5x8p4fv',
    A,
  ],
  ['/nix/store/irkwmdh8xghpixlvv973haj0zbq9vfa5-d', 'fixed:r:md5:2jkr483mhrj1qsaaia0fw07fzz', D],
  ['/nix/store/gmysnr3ixh86cjsdxlkdn09rvm1kvj4k-d', 'fixed:r:sha1:9xry9l4cmvy6zsr298pkxm4dlk81yp60', D],
  [
    '/nix/store/nsqfjxyb13y2g1a6sx5a4wv8k96yx9vh-d',
    'fixed:r:sha512:0qay8g61ypj9a78s3kgkn9ihq7d96y8g26chc9gdjcmcg2vhfs6hdw1i3kgcp6lgx0p66pqfb4d5vdchbvfysq033gsvh1b5x0fvzd2',
    D,
  ],
  [
    OWN,
    'fixed:r:sha256:0nv4jyxr7i1jkggkr356zlpq0qc4p6vvsydn0mw5f4pl77cl5xgq',
    file(`me ${OWN} and ${OWN} again\n`),
  ],
  [
    NEWER,
    'fixed:r:sha256:1b8wg3x41zkabbkqmbd1bz8ybpi689s1cxlnrrpchw2lh3lg3n4v',
    file(`${NEWER} and ${NEWER}\n`),
  ],
];

function infoOf(path: string, ca: string, contents: Node, references: readonly string[] = []): NarInfo {
  const bytes = nar(contents);
  const text = [
    `StorePath: ${path}`,
    'URL: nar/x.nar',
    'Compression: none',
    `NarHash: sha256:${sha256FromBytes(sha256(bytes))}`,
    `NarSize: ${bytes.length}`,
    `References: ${references.join(' ')}`,
    `CA: ${ca}`,
  ];
  return parseNarInfo(`${text.join('\n')}\n`, path.slice(0, path.lastIndexOf('/')));
}

/** Whether these bytes, in pieces of that length, are what it says. */
function fits(contents: CaContents | undefined, bytes: Buffer, piece: number): boolean {
  assert.ok(contents !== undefined);
  for (let at = 0; at < bytes.length; at += piece) contents.update(bytes.subarray(at, at + piece));
  try {
    contents.check('x');
    return true;
  } catch (error) {
    assert.match(String(error), /invalid|CA is/);
    return false;
  }
}

for (const [path, ca, contents] of MADE_BY_NIX) {
  test(`${ca.slice(0, 20)}… of ${path.slice(-8)}: what Nix made fits in pieces of any length, and a change does not`, () => {
    const storeDir = path.slice(0, path.lastIndexOf('/'));
    const own = path === OWN || path === NEWER ? [path.slice(storeDir.length + 1)] : [];
    const info = infoOf(path, ca, contents, own);
    assert.ok(isContentAddressed(info, storeDir));
    const bytes = nar(contents);
    for (let piece = 1; piece <= bytes.length; piece++)
      assert.ok(fits(caContents(info), Buffer.from(bytes), piece), `in pieces of ${piece}`);
    const other = Buffer.from(bytes);
    const at = Math.max(...['me /', ' and', 'hello', 'in d'].map((word) => other.indexOf(word)));
    other[at] = 0x58;
    for (const piece of [1, 7, 1000]) assert.ok(!fits(caContents(info), other, piece));
  });
}

test('what is not the NAR of one file, or a shorter one, has no hash of a file', () => {
  const text = 'some text';
  const ca = `text:sha256:${createHash('sha256').update(text).digest('hex')}`;
  const info = infoOf('/nix/store/m2h8aw9phygggk5p18d9gdgzirmg97m7-a.txt', ca, file(text));
  const good = nar(file(text));
  assert.ok(fits(caContents(info), good, 10));
  const runs = nar({ type: 'regular', contents: Buffer.from(text), executable: true });
  assert.ok(fits(caContents(info), runs, 10), 'clients look at the contents only');
  const link = nar({ type: 'symlink', target: text });
  for (const bytes of [nar(D), link, good.subarray(0, 100), Buffer.from(text), Buffer.alloc(0)])
    assert.ok(!fits(caContents(info), bytes, 50));
  const empty = `text:sha256:${createHash('sha256').digest('hex')}`;
  assert.ok(fits(caContents({ ...info, ca: empty }), nar(file('')), 50));
});

test('what the NarHash tells, and what is left to clients, is not hashed again', () => {
  const info = infoOf('/nix/store/m2h8aw9phygggk5p18d9gdgzirmg97m7-a.txt', '', A);
  const hash = createHash('sha256').digest('hex');
  for (const ca of [undefined, `fixed:r:sha256:${hash}`, `fixed:git:sha256:${hash}`, 'nonsense'])
    assert.equal(caContents({ ...info, ca }), undefined, ca);
});
