// Section 8 of docs/protocol.md, 72 and 73: narinfos that are odd but honest. What clients read is served, what they would stop at
// is not; no signature is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, publicKey, readNarInfo } from '../fixtures/nar.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const KEY = { name: 't-1', seed: Buffer.alloc(32, 1) };
const one = makePackage('odd', { keys: [KEY], references: [makePackage('other').base] });
const GOOD = one.narInfo;
const base64 = (length: number) => Buffer.alloc(length, 3).toString('base64');
const LONG = [4627, 2420, 102].map((length, i) => `Sig: other-${i}:${base64(length)}\n`).join('');
const without = (...names: string[]) =>
  names.reduce((text, name) => text.replace(new RegExp(`^${name}: .*\n`, 'm'), ''), GOOD);

/** What an upstream says, and what is served but for its URL. */
const ODD: Record<string, [text: string, served: string]> = {
  'signatures of other kinds': [GOOD + LONG, GOOD + LONG],
  'a short Sig of somebody else': [`${GOOD}Sig: k-1:AAAA\n`, `${GOOD}Sig: k-1:AAAA\n`],
  'a short Sig of the key that counts': [GOOD.replace('Sig:', 'Sig: t-1:AAAA\nSig:'), GOOD],
  'a Sig that is no base64': [`${GOOD}Sig: k-1:**\n`, GOOD],
  'CR behind a Sig': [`${GOOD.slice(0, -1)}\r\n`, GOOD],
  Provenance: [`${GOOD}Provenance: {"a":"é"}\n`, `${GOOD}Provenance: {"a":"é"}\n`],
  'an unknown line that ends in CR': [`${GOOD}Other: x\r\n`, GOOD],
  'two spaces before the references': [GOOD.replace('References: ', 'References:  '), GOOD],
  'an empty Deriver': [`${GOOD}Deriver: \n`, GOOD],
  'an empty Deriver without its space': [GOOD.replace('References', 'Deriver:\nReferences'), GOOD],
  'an empty FileHash': [GOOD.replace(/^FileHash.*$/m, 'FileHash: '), without('FileHash')],
  'a FileHash of another algorithm': [
    GOOD.replace(/^FileHash.*$/m, `FileHash: md5:${'0'.repeat(32)}`),
    without('FileHash'),
  ],
  'an empty FileSize': [GOOD.replace(/^FileSize.*$/m, 'FileSize: '), without('FileSize')],
  'a CA that does not decode': [`${GOOD}CA: fixed:r:sha256:abc\n`, GOOD],
  'a CA of an unknown form': [`${GOOD}CA: nar:sha256:${'0'.repeat(52)}\n`, GOOD],
  'a CA of another path': [`${GOOD}CA: text:sha256:${'0'.repeat(52)}\n`, GOOD],
};
for (const [what, [text, served]] of Object.entries(ODD)) {
  test(`72, 73: an upstream narinfo with ${what} → read by every client, its Sig verifies`, async (t) => {
    const upstream = await startUpstream(t);
    upstream.on(one.narInfoPath, whole(text));
    const believed = { ...upstreamConfig(upstream.url), publicKeys: [publicKey(KEY)] };
    const service = await startTestService(t, { upstreams: [believed] });
    for (let i = 0; i < 2; i++) {
      const reply = await get(service.url, one.narInfoPath);
      assert.equal(reply.status, 200, reply.text);
      assert.equal(reply.text.replace(/^URL.*$/m, ''), served.replace(/^URL.*$/m, ''));
      await service.restart();
    }
  });
}

test('72: signatures of any kind are taken, merged, and given back byte for byte', async (t) => {
  const service = await startTestService(t);
  await put(service.url, one.narPath, one.file);
  for (const text of [GOOD, without('Sig') + LONG, `${without('Sig')}Sig: k-1:AAAA\n`])
    assert.equal((await put(service.url, one.narInfoPath, text)).status, 200);
  await service.restart();
  const { text } = await get(service.url, one.narInfoPath);
  const sigs = readNarInfo(`${GOOD}${LONG}Sig: k-1:AAAA\n`).get('Sig');
  assert.deepEqual(readNarInfo(text).get('Sig')?.toSorted(), sigs?.toSorted());
});

test('73: what is pushed is mended too, and a content address that gives its path is kept', async (t) => {
  const service = await startTestService(t);
  await put(service.url, one.narPath, one.file);
  const odd = `${GOOD.replace('References: ', 'References:  ')}Deriver: \nCA: text:sha256:AAAA\n`;
  assert.equal((await put(service.url, one.narInfoPath, odd)).status, 200);
  assert.equal((await get(service.url, one.narInfoPath)).text, GOOD);

  const upstream = await startUpstream(t);
  const ca = 'fixed:r:sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw';
  const path = 'z3n6ml62lc6l9glpaz6fq7fvi2rks9vq-a.txt';
  const hash = path.slice(0, 32);
  const fields = `URL: nar/x\nNarHash: ${ca.slice('fixed:r:'.length)}\nNarSize: 1\nCA: ${ca}\n`;
  upstream.on(`/${hash}.narinfo`, whole(`StorePath: /nix/store/${path}\n${fields}`));
  const above = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal(field((await get(above.url, `/${hash}.narinfo`)).text, 'CA'), ca);
});
