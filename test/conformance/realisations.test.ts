// Section 8 of docs/protocol.md, 59: realisations of both kinds, merged and signed. Section 2 has what is signed.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, put } from '../fixtures/client.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { type Key, makePackage, publicKey, sign } from '../fixtures/nar.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const OWN: Key = { name: 'cache-1', seed: Buffer.alloc(32, 1) };
const CI: Key = { name: 'ci-1', seed: Buffer.alloc(32, 2) };
const OTHER: Key = { name: 'other-1', seed: Buffer.alloc(32, 3) };
const [one, other] = [makePackage('one').base, makePackage('two').base];
const ID = `sha256:${'0a'.repeat(32)}!out`;
const DRV = `${makePackage('drv').base}.drv`;

interface Form {
  readonly path: string;
  text(outPath: string, ...keys: Key[]): string;
  sigs(text: string): string[];
  by(outPath: string, key: Key): string;
}
const OLD: Form = {
  path: `/realisations/${ID}.doi`,
  text: (outPath, ...keys) =>
    JSON.stringify({
      ...{ id: ID, outPath, dependentRealisations: {} },
      signatures: keys.map((key) => OLD.by(outPath, key)),
    }),
  sigs: (text) => JSON.parse(text).signatures,
  by: (outPath, key) => sign(`{"dependentRealisations":{},"id":"${ID}","outPath":"${outPath}"}`, key),
};
const NEW: Form = {
  path: `/build-trace-v2/${DRV}/out.doi`,
  text: (outPath, ...keys) => {
    const signatures = keys.map((key) => {
      const [keyName, sig] = NEW.by(outPath, key).split(':');
      return { keyName, sig };
    });
    return JSON.stringify({ outPath, signatures });
  },
  sigs: (text) =>
    JSON.parse(text).signatures.map(({ keyName, sig }: Record<string, string>) => `${keyName}:${sig}`),
  by: (outPath, key) =>
    sign(`{"key":{"drvPath":"${DRV}","outputName":"out"},"value":{"outPath":"${outPath}"}}`, key),
};

for (const form of [OLD, NEW]) {
  const { path, text, sigs, by } = form;
  const kind = path.split('/')[1];

  test(`59: ${kind}: what is pushed comes back as it was, and equal ones bring their signatures together`, async (t) => {
    const service = await startTestService(t);
    const first = text(one, CI);
    await put(service.url, path, first);
    assert.equal((await get(service.url, path)).text, first);
    await put(service.url, path, text(one));
    assert.equal((await get(service.url, path)).text, first, 'one without a signature takes none away');
    await Promise.all(
      [text(one, OTHER), text(one, CI), text(one)].map((each) => put(service.url, path, each)),
    );
    await service.restart();
    const expected = [CI, OTHER].map((key) => by(one, key));
    assert.deepEqual(sigs((await get(service.url, path)).text).toSorted(), expected.toSorted());
    assert.equal((await put(service.url, path, text(other, OTHER))).status, 200);
    assert.deepEqual(
      sigs((await get(service.url, path)).text).toSorted(),
      expected.toSorted(),
      'the first stays',
    );
  });

  test(`${kind}: a first one that lacks the demanded signature gives way to one that has it`, async (t) => {
    const service = await startTestService(t);
    await put(service.url, path, text(one, OTHER));
    await service.reload(`[push]\ntrusted_keys = ["${publicKey(CI)}"]\n`);
    await put(service.url, path, text(other));
    assert.equal((await get(service.url, path)).text, text(one, OTHER));
    await put(service.url, path, text(other, CI));
    assert.equal((await get(service.url, path)).text, text(other, CI));
  });

  test(`15: ${kind}: signed by us like narinfos, of upstreams only what their keys vouch for`, async (t) => {
    const file = join(await temporaryFolder(t), 'key');
    const [name, base64 = ''] = publicKey(OWN).split(':');
    await writeFile(
      file,
      `${name}:${Buffer.concat([OWN.seed, Buffer.from(base64, 'base64')]).toString('base64')}`,
    );
    const upstream = await startUpstream(t);
    const believed = upstreamConfig(upstream.url, { publicKeys: [publicKey(CI)] });
    for (const signs of ['pushed', 'all']) {
      const toml = `[signing]\nkey_file = "${file}"\nsign = "${signs}"\n`;
      for (const keys of [[CI], [OTHER]]) {
        upstream.on(path, whole(text(one, ...keys)));
        const service = await startTestService(t, { toml, upstreams: [believed] });
        const expected = [...keys, ...(signs === 'all' && keys[0] === CI ? [OWN] : [])].map((key) =>
          by(one, key),
        );
        for (let i = 0; i < 2; i++) assert.deepEqual(sigs((await get(service.url, path)).text), expected);
      }
      const service = await startTestService(t, { toml });
      await put(service.url, path, text(one, CI));
      for (const base of [service.url, `${service.url}/upload`])
        assert.deepEqual(
          sigs((await get(base, new URL(base).pathname.replace(/\/$/, '') + path)).text),
          [CI, OWN].map((key) => by(one, key)),
        );
      await service.reload('');
      assert.equal((await get(service.url, path)).text, text(one, CI), 'and it is not kept');
    }
  });
}
