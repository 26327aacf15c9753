// A pushed path whose name follows from its contents: they are compared where the NAR can be unpacked here, before the path is visible,
// and whoever may push could else keep the right one out, as what was first stays. Clients unpack such a path and refuse it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { isDecodable } from '../../lib/bytes/codings.ts';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { get, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import {
  type Compression,
  compress,
  field,
  type Node,
  nar,
  narInfoOf,
  pathFor,
  sha256,
} from '../fixtures/nar.ts';

const file = (text: string): Node => ({ type: 'regular', contents: Buffer.from(text) });
const GOOD = nar(file('what it says\n'));
const flat = sha256('what it says\n');
const outer = (how: string, hash: Buffer, algorithm = 'sha256') =>
  pathFor('output:out', sha256(`fixed:out:${how}${algorithm}:${hash.toString('hex')}:`), 'c');
const sha1 = createHash('sha1').update(GOOD).digest();
const FORMS: readonly (readonly [ca: string, base: string])[] = [
  [`text:sha256:${encodeNix32(flat)}`, pathFor('text', flat, 'a.drv')],
  [`fixed:sha256:${encodeNix32(flat)}`, outer('', flat)],
  [`fixed:r:sha1:${encodeNix32(sha1)}`, outer('r:', sha1, 'sha1')],
];
const LIES: Readonly<Record<string, Buffer>> = {
  'another file': nar(file('what it says not\n')),
  'a folder': nar({ type: 'directory', entries: { a: file('what it says\n') } }),
};

for (const compression of ['none', 'gzip', 'br', 'zstd', 'xz'] satisfies Compression[]) {
  const sees = compression === 'none' || isDecodable(compression);
  test(`89: a content address and another content in ${compression} → ${sees ? '400, and the right one is taken' : 'taken: clients refuse it'}`, async (t) => {
    const service = await startTestService(t);
    for (const [ca, base] of FORMS) {
      const narInfoPath = `/${base.slice(0, 32)}.narinfo`;
      const offer = async (bytes: Buffer) => {
        const packed = compress(bytes, compression);
        const text = narInfoOf(base, bytes, { ca, compression, file: packed });
        assert.equal((await put(service.url, `/${field(text, 'URL')}`, packed)).status, 200);
        return put(service.url, narInfoPath, text);
      };
      for (const [what, bytes] of Object.entries(LIES)) {
        const { status, text } = await offer(bytes);
        assert.equal(status, sees ? 400 : 200, `${ca}: ${what}: ${text}`);
        if (!sees) return;
        assert.match(text, /CA is .* but its NAR holds/);
        assert.equal((await get(service.url, narInfoPath)).status, 404);
      }
      const good = await offer(GOOD);
      assert.equal(good.status, 200, good.text);
      assert.match((await get(service.url, narInfoPath)).text, new RegExp(`^CA: ${ca}$`, 'm'));
    }
  });
}
