import assert from 'node:assert/strict';
import { createPrivateKey, sign } from 'node:crypto';
import { test } from 'node:test';
import { type NarInfo, parseNarInfo } from '../../lib/nix/narinfo.ts';
import { keyName } from '../../lib/nix/sig.ts';
import { fingerprint, isPublicKey, type PublicKey, readKeys, verify } from '../../lib/nix/signature.ts';

// The vector of the protocol's description, which real Nix accepts: the seed 00..1f.
const A = '00000000000000000000000000000000-a';
const B = '11111111111111111111111111111111-b';
const NAR_HASH = '0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73';
const KEY = 't-1:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';
const SIG = 't-1:IdwbU46zYtBueUmRF7WNrNC53PSVP48iCezLAieFY7cIi9L5y2B+t04dQzniEIHwYsAo0xObgTv7mNQuFaKrDw==';
const FINGERPRINT = `1;/nix/store/${A};sha256:${NAR_HASH};1;/nix/store/${A},/nix/store/${B}`;
const NIXOS = 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=';

function narInfo(references: string, ...sigs: string[]): NarInfo {
  const fields = [
    `StorePath: /nix/store/${A}`,
    'URL: nar/x.nar.xz',
    `NarHash: sha256:${NAR_HASH}`,
    'NarSize: 1',
  ];
  const lines = [...fields, `References: ${references}`, ...sigs.map((sig) => `Sig: ${sig}`)];
  return parseNarInfo(`${lines.join('\n')}\n`, '/nix/store');
}

function keys(...texts: string[]) {
  for (const text of texts) assert.ok(isPublicKey(text), text);
  return readKeys(texts as PublicKey[]);
}

const verified = (info: NarInfo, ...texts: string[]) => verify(info, keys(...texts), '/nix/store');

test('the fingerprint is what Nix signs, whatever the order of the references', () => {
  assert.equal(fingerprint(narInfo(`${A} ${B}`), '/nix/store'), FINGERPRINT);
  assert.equal(fingerprint(narInfo(`${B} ${A} ${B}`), '/nix/store'), FINGERPRINT);
  assert.equal(
    fingerprint(narInfo(''), '/nix/store'),
    FINGERPRINT.slice(0, FINGERPRINT.lastIndexOf(';') + 1),
  );
});

test('the key that has signed is named', () => {
  assert.equal(verified(narInfo(`${A} ${B}`, SIG), KEY), 't-1');
  assert.equal(verified(narInfo(`${B} ${A}`, SIG), NIXOS, KEY), 't-1');
  const wrong = SIG.replace('Idwb', 'IDWB');
  assert.equal(verified(narInfo(`${A} ${B}`, wrong, SIG), KEY), 't-1', 'one good one is enough');
  const otherOfThatName = NIXOS.replace('cache.nixos.org-1', 't-1');
  assert.equal(verified(narInfo(`${A} ${B}`, SIG), otherOfThatName, KEY), 't-1', 'two keys of one name');
});

test('nothing else verifies', () => {
  const good = narInfo(`${A} ${B}`, SIG);
  assert.equal(verified(narInfo(`${A} ${B}`), KEY), undefined, 'not signed');
  assert.equal(verified(good), undefined, 'no keys');
  assert.equal(verified(good, NIXOS), undefined, 'signed by another');
  assert.equal(verified(good, KEY.replace('t-1', 't-2')), undefined, 'a key of another name');
  assert.equal(
    verified(good, NIXOS.replace('cache.nixos.org-1', 't-1')),
    undefined,
    'another key of the name',
  );
  assert.equal(
    verified(good, NIXOS.replace('cache.nixos.org-1', 't-1'), KEY.replace('t-1', 't-2')),
    undefined,
    'the right key under another name, another one under its own',
  );
  assert.equal(verified(narInfo(A, SIG), KEY), undefined, 'a reference less');
  assert.equal(verified({ ...good, narSize: 2 }, KEY), undefined, 'another size');
  assert.equal(verified({ ...good, storePath: `${good.storePath}x` }, KEY), undefined, 'another path');
  for (let at = 4; at < SIG.length - 4; at += 7) {
    const wrong = `${SIG.slice(0, at)}${SIG[at] === 'A' ? 'B' : 'A'}${SIG.slice(at + 1)}`;
    assert.equal(verified(narInfo(`${A} ${B}`, wrong), KEY), undefined, `byte ${at}`);
  }
});

test('what node:crypto signs as Nix does is the signature of the vector', () => {
  const seed = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  assert.equal(`t-1:${sign(null, Buffer.from(FINGERPRINT), key).toString('base64')}`, SIG);
});

test('a public key is a name and 32 bytes in base64', () => {
  for (const good of [KEY, NIXOS]) assert.ok(isPublicKey(good));
  const bad = ['', 't-1', 't-1:', ':A6EHv', KEY.slice(4), KEY.slice(3), `${KEY} `, ` ${KEY}`, `${KEY}=`];
  const secret = `t-1:${Buffer.alloc(64).toString('base64')}`;
  for (const text of [...bad, KEY.replace('-', ' '), KEY.replace('=', ''), secret, `a:${KEY}`]) {
    assert.ok(!isPublicKey(text), text);
  }
  assert.equal(keyName(NIXOS), 'cache.nixos.org-1');
  assert.equal(keyName(SIG), 't-1');
});
