import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as zlib from 'node:zlib';
import { createUnpacker } from '../../lib/download/unpack.ts';
import { isCacheError } from '../../lib/errors.ts';
import type { Compression } from '../../lib/nix/compression.ts';
import { sha256FromBytes } from '../../lib/nix/hash.ts';
import { need } from '../fixtures/need.ts';

const NAR = Buffer.concat([randomBytes(200_000), Buffer.alloc(2_000_000, 'nar')]);
const FOUND = { narHash: sha256FromBytes(createHash('sha256').update(NAR).digest()), narSize: NAR.length };

async function unpack(compression: Compression, packed: Buffer, maxSize = NAR.length) {
  const unpacker = createUnpacker(compression, maxSize);
  assert.ok(unpacker);
  try {
    for (let at = 0; at < packed.length; at += 10_000) await unpacker.write(packed.subarray(at, at + 10_000));
    return await unpacker.end();
  } finally {
    unpacker.destroy();
  }
}

const invalid = (error: unknown) => isCacheError(error, 'invalid');
const PACKERS: [Compression, (data: Buffer) => Buffer][] = [
  ['gzip', (data) => zlib.gzipSync(data)],
  ['br', (data) => zlib.brotliCompressSync(data, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 3 } })],
];

for (const [compression, pack] of PACKERS) {
  test(`${compression}: whole is hashed; cut off, garbage and too large are refused`, async () => {
    const packed = pack(NAR);
    assert.deepEqual(await unpack(compression, packed), FOUND);
    await assert.rejects(unpack(compression, packed.subarray(0, packed.length - 100)), invalid);
    await assert.rejects(unpack(compression, randomBytes(50_000)), invalid);
    await assert.rejects(unpack(compression, packed, NAR.length - 1), invalid);
  });
}

test('what Node can not unpack is left to the file hash', () => {
  for (const compression of ['xz', 'bzip2', 'none', 'lzip'] as const) {
    assert.equal(createUnpacker(compression, 1), undefined);
  }
});

test('zstd: every frame counts, where this Node has zstd at all', { skip: need('zstd') }, async () => {
  const half = NAR.length >> 1;
  const frame = (data: Buffer) => execFileSync('zstd', ['-q', '-c'], { input: data, maxBuffer: 1 << 26 });
  const packed = Buffer.concat([frame(NAR.subarray(0, half)), frame(NAR.subarray(half))]);
  if (!('createZstdDecompress' in zlib)) {
    assert.equal(createUnpacker('zstd', 1), undefined);
    return;
  }
  assert.deepEqual(await unpack('zstd', packed), FOUND);
  await assert.rejects(unpack('zstd', packed.subarray(0, packed.length - 1)), invalid);
  await assert.rejects(unpack('zstd', packed, NAR.length - 1), invalid);
  const damaged = Buffer.from(packed);
  damaged[packed.length - 10] = (damaged[packed.length - 10] as number) ^ 1;
  await assert.rejects(unpack('zstd', damaged), invalid);
});
