// Narinfos of an upstream that are odd but honest, as real clients read what we make of them.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { startTestService } from '../../fixtures/in-process.ts';
import { makePackage, publicKey } from '../../fixtures/nar.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { upstreamConfig } from '../../fixtures/upstream-config.ts';
import { clients } from './client.ts';

const KEY = { name: 't-1', seed: Buffer.alloc(32, 1) };
const base64 = (length: number) => Buffer.alloc(length, 3).toString('base64');

/** Each makes a narinfo odd: at most of them at least one client stops when it reads it as it is. */
const ODD: readonly ((text: string) => string)[] = [
  (text) =>
    `${text}Sig: m-1:${base64(4627)}\nSig: m-2:${base64(2420)}\nSig: e-1:${base64(102)}\nSig: k-1:AAAA\n`,
  (text) => text.replace('Sig:', 'Sig: t-1:AAAA\nSig:'),
  (text) => `${text}Sig: nonsense\nSig: k-1:***\n`,
  (text) => `${text.slice(0, -1)}\r\n`,
  (text) => text.replace('References: ', 'References:  '),
  (text) => `${text}Deriver: \nProvenance: {"a":1}\n`,
  (text) => text.replace('References', 'Deriver:\nReferences'),
  (text) => text.replace(/^FileHash.*$/m, 'FileHash: ').replace(/^FileSize.*$/m, 'FileSize: '),
  (text) => text.replace(/^FileHash.*$/m, `FileHash: sha512:${'0'.repeat(128)}`),
  (text) => `${text}CA: fixed:r:sha256:abc\n`,
  (text) => `${text}CA: nar:sha256:${'0'.repeat(52)}\n`,
  (text) => `${text}CA: fixed:r:sha256:${'0'.repeat(52)}\n`,
  (text) => text.replace(/^Compression.*$/m, 'Compression: none\nCompression: none'),
];

describe('odd narinfos', { concurrency: availableParallelism() }, () => {
  for (const { name, skip, machine } of clients) {
    test(`${name} reads all that is served, and believes it`, { skip }, async (t) => {
      const upstream = await startUpstream(t);
      const packages = ODD.map((make, i) => {
        const one = makePackage(`odd-${i}`, { keys: [KEY] });
        const text = make(one.narInfo);
        upstream.on(one.narInfoPath, whole(text));
        upstream.on(one.narPath, whole(one.file));
        return one;
      });
      const believed = upstreamConfig(upstream.url, { publicKeys: [publicKey(KEY)] });
      const service = await startTestService(t, { upstreams: [believed] });
      const client = await machine(t);
      const trust = ['--option', 'trusted-public-keys', publicKey(KEY), '--option', 'require-sigs', 'true'];
      const paths = packages.map(({ storePath }) => storePath);
      const { code, stderr } = await client.run(['nix', ...trust, 'copy', '--from', service.url, ...paths]);
      assert.equal(code, 0, stderr);
      for (const path of paths) assert.ok(await client.has(path), path);
    });
  }
});
