// Signatures of what is stored: which are found, and which of them are a reason to set a narinfo aside.
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { test } from 'node:test';
import { TrustedKeys } from '../../lib/check/trusted-keys.ts';
import { parseNarInfo } from '../../lib/nix/narinfo.ts';
import { Holdings } from '../fixtures/holdings.ts';
import { type Key, makePackage, publicKey, sign } from '../fixtures/nar.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';
import { verifyHoldings } from '../fixtures/verified.ts';

const UPSTREAM = 'http://upstream.example';
const KEY: Key = { name: 'own-1', seed: Buffer.alloc(32, 1) };
const OTHER: Key = { name: 'other-1', seed: Buffer.alloc(32, 2) };
const FORGED: Key = { name: 'own-1', seed: Buffer.alloc(32, 3) };

const demanding = {
  upstreams: [upstreamConfig(UPSTREAM, { publicKeys: [publicKey(KEY)] })],
  trustedKeys: [publicKey(OTHER)],
};

const signed = makePackage('signed', { keys: [KEY] });
const unsigned = makePackage('signed');
const with_ = (...keys: Key[]) =>
  unsigned.narInfo + keys.map((key) => `Sig: ${sign(unsigned.fingerprint, key)}\n`).join('');
const badSig = with_(FORGED);

for (const [what, text, origin, expected] of [
  [
    'without a signature, from an upstream that signs',
    with_(),
    UPSTREAM,
    /^damaged .* no signature by own-1$/,
  ],
  ['signed by a stranger', with_({ ...OTHER, name: 'x-1' }), UPSTREAM, /^damaged .* no signature by own-1$/],
  ['with a false signature', badSig, UPSTREAM, /^damaged .* its signature by own-1 does not verify$/],
  ['with a false signature beside a good one', with_(FORGED, KEY), UPSTREAM, /^doubtful .* own-1 does not/],
  ['pushed without the signature that is demanded', with_(), 'push', /^doubtful .* no signature by other-1$/],
  ['pushed with a false signature', with_(FORGED, OTHER), 'push', /^doubtful .* by own-1 does not verify$/],
] as const) {
  test(`a narinfo ${what} is found${expected.source.startsWith('^doubtful') ? ', and stays' : ''}`, async (t) => {
    const holdings = await Holdings.create(t);
    await holdings.nar(signed, origin);
    await holdings.narInfo(signed, origin, text);
    const { events } = await verifyHoldings(holdings, { config: demanding });
    assert.equal(events.length, 1);
    assert.match(events[0] ?? '', expected);
    const stays = expected.source.startsWith('^doubtful');
    assert.equal(await stat(holdings.file(signed.narInfoPath)).then(Boolean, () => false), stays);
  });
}

const SECOND: Key = { name: 'second-1', seed: Buffer.alloc(32, 4) };
const KEYLESS = 'http://keyless.example';
const known = new TrustedKeys({
  storeDir: '/nix/store',
  trustedKeys: [OTHER, SECOND, { ...SECOND, seed: Buffer.alloc(32, 5) }].map(publicKey),
  upstreams: [
    upstreamConfig(UPSTREAM, { publicKeys: [publicKey(KEY)] }),
    upstreamConfig(KEYLESS, { publicKeys: [] }),
  ],
});
const judge = (text: string, origin: string) => known.judge(parseNarInfo(text, '/nix/store'), origin);
const fine = (vouched: boolean) => ({ reason: undefined, vouched });

test('each origin demands its own keys, and a known key of another vouches all the same', () => {
  assert.deepEqual(judge(with_(KEY), UPSTREAM), fine(true));
  assert.deepEqual(judge(with_(OTHER), UPSTREAM), { reason: 'it has no signature by own-1', vouched: true });
  assert.deepEqual(judge(with_(SECOND), 'push'), fine(true));
  assert.deepEqual(judge(with_(KEY), 'push'), {
    reason: 'it has no signature by other-1 or second-1',
    vouched: true,
  });
});

test('where nobody demands a signature none is missed, and only one that is there vouches', () => {
  for (const origin of [KEYLESS, 'unknown', 'http://no-longer-configured.example']) {
    assert.deepEqual(judge(with_(), origin), fine(false), origin);
    assert.deepEqual(judge(with_({ ...OTHER, name: 'x-1' }), origin), fine(false), origin);
    assert.deepEqual(judge(with_(KEY), origin), fine(true), origin);
  }
});

test('what its path proves needs no signature', () => {
  // Made by Nix: nix-store --add.
  const text =
    'StorePath: /nix/store/z3n6ml62lc6l9glpaz6fq7fvi2rks9vq-a.txt\nURL: nar/a.nar\nCompression: none\n' +
    'NarHash: sha256-HDfQGvQL4ugGkd48w99EN3ppmvuxfGjwgJZLL9Bx/BM=\nNarSize: 120\nReferences: \n';
  const ca = 'CA: fixed:r:sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw\n';
  assert.deepEqual(judge(text + ca, UPSTREAM), fine(false));
  assert.deepEqual(judge(text, UPSTREAM), { reason: 'it has no signature by own-1', vouched: false });
});
