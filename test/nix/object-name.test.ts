import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashInNarName, isNarName, mimeOf, parseObjectName, pathOf } from '../../lib/nix/object-name.ts';

const H = '0123456789abcdfghijklmnpqrsvwxyz';
const F = '0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73';
const HEX = 'ab'.repeat(32);

const NAMES: readonly [path: string, query: string, kind: string, canonical?: string][] = [
  [`${H}.narinfo`, '', 'narinfo'],
  [`${H}.ls`, '', 'listing'],
  [`nar/${F}.nar`, '', 'nar'],
  [`nar/${F}.nar.xz`, `hash=${H}`, 'nar'],
  [`nar/${H}-${F}.nar.zst`, '', 'nar'],
  ['nar/6f1a2b3c-0000-4444-8888-123456789abc.nar.zst', '', 'nar'],
  [`log/${H}-hello-2.12.drv`, '', 'log'],
  [`log/${H}-what?.drv`, '', 'log'],
  [`log/${H}-what`, '.drv', 'log', `/log/${H}-what?.drv`],
  [`realisations/sha256:${HEX}!out.doi`, '', 'realisation'],
  [`build-trace-v2/${H}-hello.drv/out.doi`, '', 'build-trace'],
  [`debuginfo/${'0a'.repeat(20)}.debug`, '', 'debug-info'],
  [`debuginfo/${'0a'.repeat(20)}`, '', 'debug-info', `/debuginfo/${'0a'.repeat(20)}.debug`],
];

test('every name of the protocol is recognised and has one path', () => {
  for (const [path, query, kind, canonical] of NAMES) {
    const name = parseObjectName(path, query);
    assert.equal(name?.kind, kind, path);
    assert.equal(pathOf(name as NonNullable<typeof name>), canonical ?? `/${path}`);
    assert.ok(mimeOf(name?.kind as 'nar').includes('/'));
  }
});

test('only a store hash is taken from the query of a NAR', () => {
  const hashOf = (query: string, file = F) => {
    const name = parseObjectName(`nar/${file}.nar`, query);
    return name?.kind === 'nar' ? name.hash : 'no NAR';
  };
  assert.equal(hashOf(`hash=${H}`), H);
  assert.equal(hashOf(`narsize=1&hash=${H}`), H);
  assert.equal(hashOf(`hash=${H}0`), undefined);
  assert.equal(hashOf('hash=../../etc/passwd'), undefined);
  assert.equal(hashOf(''), undefined);
  for (const query of ['', `hash=${H}`, `hash=${'0'.repeat(32)}`]) {
    assert.equal(hashOf(query, `${H}-${F}`), H, 'but from a name that has it');
  }
  assert.equal(hashOf('', `${H}-opaque`), undefined);
  assert.equal(hashOf('', `${'e'.repeat(32)}-${F}`), undefined);
});

test('everything else is no name', () => {
  const bad = [
    ...[
      '',
      'nar',
      'nar/',
      'nar/..',
      'nar/.nar',
      `nar/${F}`,
      `nar/a/${F}.nar`,
      `nar/${F}.nar/`,
      'nar/a b.nar',
      'nar/a\0.nar',
    ],
    ...[
      `${H}`,
      `${H}.narinfo2`,
      `${H.slice(1)}.narinfo`,
      `${H}0.narinfo`,
      `${'e'.repeat(32)}.narinfo`,
      `x/${H}.narinfo`,
    ],
    ...['log/x', `log/${H}-`, `log/${H}-..`, `log/${H}-.-x`, `log/${H}-a/b`, `log/${H}-${'a'.repeat(212)}`],
    ...[
      `realisations/sha256:${HEX}.doi`,
      `realisations/sha256:${HEX}!.doi`,
      `realisations/sha1:${HEX}!out.doi`,
    ],
    ...[`build-trace-v2/${H}-x.drv`, `build-trace-v2/${H}-x.drv/out`, `build-trace-v2/${H}-x.drv/a/out.doi`],
    ...['debuginfo/xyz.debug', `debuginfo/${'0a'.repeat(19)}`, 'nix-cache-info', 'nar/x.nar.toolongext'],
  ];
  for (const path of bad) assert.equal(parseObjectName(path, ''), undefined, JSON.stringify(path));
});

test('the hash in a NAR name is found where there is one', () => {
  const hash = (name: string) => (isNarName(name) ? hashInNarName(name) : 'no name');
  assert.equal(hash(`${F}.nar.xz`), F);
  assert.equal(hash(`${H}-${F}.nar`), undefined);
  assert.equal(hash(`${H}.nar`), undefined);
});
