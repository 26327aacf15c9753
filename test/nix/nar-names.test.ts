import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import {
  addressOf,
  isNameOf,
  namesFor,
  narNameOf,
  narPromisedBy,
  pushedNarName,
  storedNarName,
} from '../../lib/nix/nar-names.ts';
import { type NarInfo, parseNarInfo } from '../../lib/nix/narinfo.ts';
import type { NarName } from '../../lib/nix/object-name.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';

const H = '0123456789abcdfghijklmnpqrsvwxyz' as StoreHash;
const F = '0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73';
const N = '1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s';

function info(changes: Partial<Record<'URL' | 'Compression' | 'FileHash', string>> = {}): NarInfo {
  const all = { URL: `nar/${F}.nar.xz`, Compression: 'xz', FileHash: `sha256:${F}`, ...changes };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\n`);
  return parseNarInfo(
    `StorePath: /nix/store/${H}-x\n${lines.join('')}NarHash: sha256:${N}\nNarSize: 20\n`,
    '/nix/store',
  );
}

const BARE = { FileHash: '' };

test('the name under which a NAR is stored fixes its bytes', () => {
  const name = (changes: Parameters<typeof info>[0]) => storedNarName(info(changes));
  assert.equal(name({ URL: 'https://x.org/opaque?id=1' }), `${F}.nar.xz`);
  assert.equal(name({ URL: `nar/${N}.nar.zst`, Compression: 'zstd' }), `${F}.nar.zst`);
  assert.equal(name({ Compression: '' }), `${F}.nar.bz2`);
  assert.equal(
    name({ Compression: 'gzip' }),
    `${F}.nar.gzip`,
    'unlike an unpacked one, whatever Nix calls it',
  );
  assert.equal(name(BARE), `${H}-${N}.nar.xz`);
  assert.equal(name({ ...BARE, Compression: 'gzip' }), `${H}-${N}.nar.gzip`);
  assert.equal(name({ ...BARE, Compression: 'none' }), `${N}.nar`);
});

test('the address of a NAR has the store hash in it, and ends as its coding does', () => {
  const address = (changes: Parameters<typeof info>[0]) => addressOf(info(changes));
  assert.equal(address({ URL: 'https://x.org/opaque?id=1' }), `${H}-${F}.nar.xz`);
  assert.equal(address({ Compression: 'zstd' }), `${H}-${F}.nar.zst`);
  assert.equal(address({ Compression: '' }), `${H}-${F}.nar.bz2`);
  assert.equal(address({ Compression: 'none' }), `${H}-${F}.nar`);
  assert.equal(address({ Compression: 'gzip' }), `${H}-${F}.nar.gzip`);
  assert.equal(address(BARE), `${H}-${N}.nar.xz`);
  assert.equal(address({ ...BARE, Compression: 'none' }), `${H}-${N}.nar`);
});

test('every name that we ever served for a NAR means it, and no other does', () => {
  for (const compression of ['xz', 'zstd', 'gzip', 'none', 'lzma'] as const) {
    for (const one of [info({ Compression: compression }), info({ ...BARE, Compression: compression })]) {
      const known = { info: one, narName: storedNarName(one) };
      for (const name of [addressOf(one), storedNarName(one), ...namesFor(addressOf(one), H).slice(0, 2)])
        assert.ok(isNameOf(name, known), `${compression} ${name}`);
      const other = F.replace('m', 'n');
      for (const name of [`${other}.nar.xz`, `${H}-${other}.nar`, `${H.replace('0', '1')}-${F}.nar.xz`])
        assert.ok(!isNameOf(name as NarName, known), `${compression} ${name}`);
    }
  }
  const known = { info: info(), narName: storedNarName(info()) };
  assert.ok(isNameOf(`${N}.nar.xz` as NarName, known), 'what is packed so and has that inside');
  assert.ok(!isNameOf(`${N}.nar.zst` as NarName, known), 'packed in another way');
  assert.ok(!isNameOf(`${F}.nar.zst` as NarName, known), 'packed in another way');
});

test('where a narinfo does not tell, a file may be stored under its own hash, or under that of its contents', () => {
  const names = (name: string, hash?: StoreHash) => namesFor(name as NarName, hash);
  assert.deepEqual(names(`${F}.nar.xz`), [`${F}.nar.xz`, `narhash-${F}.nar.xz`]);
  assert.deepEqual(names(`${F}.nar.xz`, H), [`${F}.nar.xz`, `${H}-${F}.nar.xz`, `narhash-${F}.nar.xz`]);
  assert.deepEqual(names(`${H}-${F}.nar.xz`, H), names(`${F}.nar.xz`, H));
  const gzip = names(`${H}-${F}.nar.gzip`, H);
  assert.deepEqual(gzip, [`${F}.nar.gzip`, `${H}-${F}.nar.gzip`, `narhash-${F}.nar.gzip`]);
  assert.deepEqual(
    names(`${F}.nar`, H),
    [`${F}.nar`, ...gzip.slice(1)],
    'what is known by its contents is packed',
  );
  assert.deepEqual(names(`${F}.nar`), [`${F}.nar`, `narhash-${F}.nar.gzip`]);
  assert.deepEqual(names(`narhash-${F}.nar.xz`), names(`${F}.nar.xz`));
  for (const name of ['x.nar.xz', `${H}.nar`, `${H}-x.nar`, `${F.slice(1)}.nar.xz`, `${H}-${F}.nar.rar`])
    assert.deepEqual(names(name, H), [name]);
});

test('a stored name that is made of the NarHash tells it', () => {
  for (const compression of ['xz', 'gzip', 'zstd', 'bzip2', 'lzma'] as const) {
    const name = storedNarName(info({ ...BARE, Compression: compression }));
    assert.deepEqual(narPromisedBy(name), { compression, narHash: N });
  }
  assert.deepEqual(narPromisedBy(`narhash-${N}.nar.zst` as NarName), { compression: 'zstd', narHash: N });
  for (const name of [`${N}.nar`, `${F}.nar.xz`, `${H}-${N}.nar`, `${H}-${N}.nar.rar`, `${H}-x.nar.xz`])
    assert.equal(narPromisedBy(name as NarName), undefined, name);
});

test('what was pushed, or kept by the Go service, lies under the name that its narinfo says', () => {
  const named = info({ URL: `nar/${N}.nar.xz` });
  assert.equal(narNameOf(named, 'push'), `${N}.nar.xz`);
  assert.equal(narNameOf(named, 'unknown'), `${N}.nar.xz`);
  assert.equal(narNameOf(named, 'https://cache.example.org'), `${F}.nar.xz`);
  assert.equal(narNameOf(info({ URL: 'https://x.org/nar/a' }), 'unknown'), `${F}.nar.xz`);
});

test('a pushed URL names a NAR of ours, also as we once wrote it', () => {
  const name = (URL: string) => pushedNarName(info({ URL }));
  for (const query of ['', `?hash=${H}`, `%3Fhash=${H}`, `%3fhash=${H}`])
    assert.equal(name(`nar/${F}.nar.xz${query}`), `${F}.nar.xz`);
  assert.equal(name(`nar/${H}-${F}.nar.xz`), `${H}-${F}.nar.xz`);
  for (const url of [`https://x.org/nar/${F}.nar.xz`, `nar/${F}.nar.xz?x=1`, `../nar/${F}.nar.xz`, 'nar/x'])
    assert.throws(
      () => name(url),
      (error) => isCacheError(error, 'invalid'),
      url,
    );
});
