import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { narPromisedBy, parseNarInfo, servedNarName, withSigs, withUrl } from '../../lib/nix/narinfo.ts';
import type { NarName } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import { pick, randomSource } from '../fixtures/random.ts';

const H = '0123456789abcdfghijklmnpqrsvwxyz';
const F = '0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73';
const N = '1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s';
const SIG = `k-1:${'A'.repeat(86)}==`;

const LINES = {
  StorePath: `/nix/store/${H}-hello`,
  URL: `nar/${F}.nar.xz`,
  Compression: 'xz',
  FileHash: `sha256:${F}`,
  FileSize: '10',
  NarHash: `sha256:${N}`,
  NarSize: '20',
  References: `${H}-hello ${H.split('').reverse().join('')}-libc`,
  Deriver: `${H}-hello.drv`,
  Sig: SIG,
};

/** The narinfo with some lines changed, or left out if undefined. */
function text(changes: Record<string, string | undefined> = {}): string {
  return Object.entries({ ...LINES, ...changes })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

const parse = (source: string) => parseNarInfo(source, '/nix/store');

test('every field is read', () => {
  assert.deepEqual(parse(text({ CA: 'fixed:r:sha256:abc', Unknown: 'x' })), {
    storePath: `/nix/store/${H}-hello`,
    hashPart: H,
    url: `nar/${F}.nar.xz`,
    compression: 'xz',
    fileHash: F,
    fileSize: 10,
    narHash: N,
    narSize: 20,
    references: LINES.References.split(' '),
    deriver: `${H}-hello.drv`,
    sigs: [SIG],
    ca: 'fixed:r:sha256:abc',
  });
});

test('what may be absent has the meaning that clients give it', () => {
  const absent = {
    Compression: undefined,
    FileHash: undefined,
    FileSize: undefined,
    Deriver: 'unknown-deriver',
  };
  const info = parse(text({ ...absent, References: '', Sig: undefined }));
  assert.equal(info.compression, 'bzip2');
  assert.deepEqual(info.references, []);
  assert.deepEqual(
    [info.fileHash, info.fileSize, info.deriver, info.ca],
    [undefined, undefined, undefined, undefined],
  );
  assert.deepEqual(info.sigs, []);
});

test('what a client would stop at is refused, and the message names the field', () => {
  const cases: [string, RegExp][] = [
    ['', /newline/],
    [text().slice(0, -1), /newline/],
    [text().replaceAll('\n', '\r\n'), /Name: value/],
    [`${text()}\n`, /Name: value/],
    [text().replace('References: ', 'References:'), /Name: value/],
    [text({ StorePath: undefined }), /no StorePath/],
    [text({ StorePath: `/gnu/store/${H}-hello` }), /StorePath.*in \/nix\/store/],
    [text({ StorePath: '/nix/store/../x' }), /StorePath/],
    [text({ URL: undefined }), /no URL/],
    [text({ URL: 'nar/a b.nar' }), /URL/],
    [text({ Compression: 'rar' }), /Compression/],
    [text({ FileHash: 'x' }), /FileHash/],
    [text({ FileSize: '-1' }), /FileSize/],
    [text({ NarHash: undefined }), /no NarHash/],
    [text({ NarHash: F }), /NarHash/],
    [text({ NarSize: '0' }), /NarSize/],
    [text({ NarSize: '1e3' }), /NarSize/],
    [text({ NarSize: '99999999999999999999' }), /NarSize/],
    [text({ References: `${H}-a  ${H}-b` }), /References/],
    [text({ References: `/nix/store/${H}-a` }), /References/],
    [text({ Deriver: 'x' }), /Deriver/],
    [text({ Sig: 'nokey' }), /Sig/],
    [text({ Sig: 'k:AAAA' }), /Sig/],
    [text({ CA: 'nonsense' }), /CA/],
    [`${text()}URL: nar/x.nar\n`, /more than one URL/],
    [`${text()}X: a\u2028URL: nar/evil.nar\n`, /Name: value/],
  ];
  for (const [source, message] of cases) {
    assert.throws(
      () => parse(source),
      (error) => isCacheError(error, 'invalid') && message.test(error.message),
      source,
    );
  }
});

test('the served name fixes the bytes', () => {
  const name = (changes: Record<string, string | undefined>) => servedNarName(parse(text(changes)));
  assert.equal(name({ URL: 'https://x.org/opaque?id=1' }), `${F}.nar.xz`);
  assert.equal(name({ Compression: undefined }), `${F}.nar.bz2`);
  assert.equal(name({ FileHash: undefined }), `${H}-${N}.nar.xz`);
  assert.equal(name({ FileHash: undefined, Compression: 'gzip' }), `${H}-${N}.nar.gzip`);
  assert.equal(name({ FileHash: undefined, Compression: 'none' }), `${N}.nar`);
});

test('a served name that is made of the NarHash tells it, for its own path only', () => {
  for (const compression of ['xz', 'gzip', 'zstd', 'bzip2', 'lzma'] as const) {
    const info = parse(text({ FileHash: undefined, Compression: compression }));
    const name = servedNarName(info);
    assert.deepEqual(narPromisedBy(name, info.hashPart), { compression, narHash: info.narHash });
    assert.equal(narPromisedBy(name, '0'.repeat(32) as StoreHash), undefined);
  }
  const { hashPart } = parse(text());
  for (const name of [`${N}.nar`, `${F}.nar.xz`, `${H}-${N}.nar`, `${H}-${N}.nar.rar`, `${H}-x.nar.xz`])
    assert.equal(narPromisedBy(name as NarName, hashPart), undefined, name);
});

test('a rewritten narinfo differs in its URL and an absent Compression only', () => {
  assert.equal(withUrl(text(), 'nar/x.nar?hash=$&'), text({ URL: 'nar/x.nar?hash=$&' }));
  const bare = withUrl(text({ Compression: undefined }), 'nar/x');
  assert.equal(parse(bare).compression, 'bzip2');
  assert.match(bare, /^Compression: bzip2$/m);
  const empty = withUrl(text({ Compression: '' }), 'nar/x');
  assert.equal(parse(empty).compression, 'bzip2');
});

test('signatures are added once', () => {
  const other = SIG.replace('k-1', 'k-2');
  const merged = withSigs(text(), [SIG, other, other]);
  assert.deepEqual(parse(merged).sigs, [SIG, other]);
  assert.equal(withSigs(merged, [other]), merged);
});

test('no text makes the parser throw anything but invalid', () => {
  const random = randomSource(2);
  const alphabet = [
    '\n',
    ':',
    ': ',
    ' ',
    '\r',
    '\0',
    'é',
    '\u2028',
    'Sig',
    'URL',
    H,
    `${H}-x`,
    ...text().split(/(?<=[\n:])/),
  ];
  for (let round = 0; round < 5000; round++) {
    const source = Array.from({ length: Math.floor(random() * 30) }, () => pick(random, alphabet)).join('');
    try {
      parse(source);
    } catch (error) {
      assert.ok(isCacheError(error, 'invalid'), `${JSON.stringify(source)}: ${error}`);
    }
  }
});
