import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { checkSigLines, mended, parseNarInfo, withSigs, withUrl } from '../../lib/nix/narinfo.ts';
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
  assert.deepEqual(parse(text({ CA: `fixed:r:sha256:${N}`, Unknown: 'x' })), {
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
    ca: `fixed:r:sha256:${N}`,
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
    [text({ NarHash: undefined }), /no NarHash/],
    [text({ NarHash: F }), /NarHash/],
    [text({ NarSize: '0' }), /NarSize/],
    [text({ NarSize: '1e3' }), /NarSize/],
    [text({ NarSize: '99999999999999999999' }), /NarSize/],
    [text({ References: `/nix/store/${H}-a` }), /References/],
    [text({ URL: `nar/x.nar\u2028URL: nar/evil.nar` }), /Name: value/],
    [`${text()}NarSize: 21\n`, /more than one NarSize/],
    [`${text()}References: ${H}-x\n`, /more than one References/],
  ];
  for (const [source, message] of cases) {
    assert.throws(
      () => parse(source),
      (error) => isCacheError(error, 'invalid') && message.test(error.message),
      source,
    );
  }
});

const bytes = (length: number) => Buffer.alloc(length, 3).toString('base64');
const mend = (source: string) => mended(source, parse(source), '/nix/store');

test('what no client needs goes, where a client would stop at it', () => {
  const gone: [field: string, ...values: string[]][] = [
    ['Deriver', '', 'x', `/nix/store/${H}-x.drv`],
    ['FileHash', '', 'x', F, `sha256:${F}0`, `sha512:${'0'.repeat(128)}`, `md5:${'0'.repeat(32)}`],
    ['FileSize', '', '-1', '1e3', '1 ', '99999999999999999999'],
    [
      'CA',
      '',
      'nonsense',
      'text:',
      'fixed:r:sha256:abc',
      `text:sha1:${'0'.repeat(32)}`,
      `text:r:sha256:${N}`,
    ],
    ['CA', `text:sha256-${bytes(32)}`, `fixed:r:blake3:${N}`, `fixed:git:git:sha1:${'0'.repeat(32)}`],
    ['CA', `fixed:r:sha256:${N}`, `fixed:md5:${'0'.repeat(26)}`],
    ['Sig', '', 'nonsense', ':AAAA', 'k-1:', 'k-1:***', 'k-1:a:AAAA', 'k 1:AAAA', 'k-1:AA=A'],
    ['Provenance', 'a\u2028b', 'a\rb'],
  ];
  for (const [field, ...values] of gone) {
    for (const value of values) {
      const odd = text({ [field]: value });
      assert.equal(mend(odd), text({ [field]: undefined }), `${field}: ${value}`);
      assert.equal(mend(odd.replace(`${field}: `, `${field}:`)), text({ [field]: undefined }));
    }
  }
  assert.equal(mend(text({ Compression: '' })), text({ Compression: undefined }));
  assert.equal(mend(text({ 'a b': 'x' })), text());
  assert.equal(mend(`${text()}Unknown:\n`), text());
  assert.deepEqual(parse(text({ FileHash: `md5:${'0'.repeat(32)}` })).otherFileHash, {
    algorithm: 'md5',
    bytes: Buffer.alloc(16),
  });
});

test('what every client reads stays, and is the same for all', () => {
  for (const odd of [
    text(),
    text({ Provenance: '{"a": [1, "é"]}', System: '' }),
    text({ FileSize: '7', FileHash: `sha256:${'0'.repeat(64)}` }),
    `${text()}${[2420, 4627, 102, 3].map((length, i) => `Sig: k-${i}:${bytes(length)}\n`).join('')}`,
    text({ Sig: 'k-1:AAA' }),
    text({ Deriver: 'unknown-deriver' }),
  ]) {
    assert.equal(mend(odd), odd);
    checkSigLines(odd);
  }
  const [a, b] = LINES.References.split(' ');
  assert.equal(mend(text({ References: ` ${a}  ${b} ` })), text());
  assert.equal(mend(text({ Sig: `${SIG}\r` })), text());
  assert.equal(
    mend(`${text()}NarSize: 20\nDeriver: unknown-deriver\nDeriver: ${LINES.Deriver}\n`),
    mend(`${text({ Deriver: undefined })}Deriver: ${LINES.Deriver}\n`),
  );
  assert.equal(parse(text({ URL: 'nar/first\nURL: nar/last' })).url, 'nar/last');
});

test('of content addresses those of which the path follows', () => {
  const path = '/nix/store/z3n6ml62lc6l9glpaz6fq7fvi2rks9vq-a.txt';
  const hash = 'fixed:r:sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw';
  const right = {
    StorePath: path,
    NarHash: 'sha256-HDfQGvQL4ugGkd48w99EN3ppmvuxfGjwgJZLL9Bx/BM=',
    References: '',
  };
  assert.equal(mend(text({ ...right, CA: hash })), text({ ...right, CA: hash }));
  const other = { ...right, StorePath: path.replace('a.txt', 'b.txt') };
  assert.equal(mend(text({ ...other, CA: hash })), text(other));
  assert.equal(mend(`${text({ ...right, CA: hash })}CA: ${hash}\n`), text({ ...right, CA: hash }));
  const two = `${text({ ...right, CA: hash })}CA: text:sha256:${N}\n`;
  assert.equal(mend(two), text(right));
});

test('a signature that its own key can not have made, and at which whoever trusts that stops, goes', () => {
  const odd = `${text()}Sig: k-1:AAAA\nSig: k-2:AAAA\n`;
  const ofKnown = mended(odd, parse(odd), '/nix/store', (name) => name === 'k-1');
  assert.equal(ofKnown, `${text()}Sig: k-2:AAAA\n`);
});

test('a Sig that no client can read is refused of who can write another', () => {
  for (const value of ['', 'nonsense', ':AAAA', 'k-1:', 'k-1:***'])
    assert.throws(() => checkSigLines(text({ Sig: value })), /Sig/, value);
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
