import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as zlib from 'node:zlib';
import { DECODABLE, decode } from '../../lib/bytes/codings.ts';
import { CacheError, isCacheError } from '../../lib/errors.ts';

const PLAIN = Buffer.concat([randomBytes(200_000), Buffer.alloc(2_000_000, 'nar')]);
const invalid = (error: unknown) => isCacheError(error, 'invalid');

async function* cut(data: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += 10_000) yield data.subarray(at, at + 10_000);
}

async function decoded(coding: string, data: Buffer): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of decode(coding, cut(data))) parts.push(part);
  return Buffer.concat(parts);
}

/** With a checksum, by a Node that has zstd: the types are those of one that has not. */
function packZstd(data: Buffer): Buffer {
  const own = zlib as unknown as {
    zstdCompressSync(data: Buffer, options: { params: Record<number, number> }): Buffer;
    constants: { ZSTD_c_checksumFlag: number };
  };
  return own.zstdCompressSync(data, { params: { [own.constants.ZSTD_c_checksumFlag]: 1 } });
}

const PACKERS: Record<string, (data: Buffer) => Buffer> = {
  gzip: (data) => zlib.gzipSync(data),
  deflate: (data) => zlib.deflateSync(data),
  br: (data) => zlib.brotliCompressSync(data, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 3 } }),
};

for (const [coding, pack] of Object.entries(PACKERS)) {
  test(`${coding}: the whole is decoded, what is cut off or garbage is refused`, async () => {
    const packed = pack(PLAIN);
    assert.ok((await decoded(coding, packed)).equals(PLAIN));
    await assert.rejects(decoded(coding, packed.subarray(0, packed.length - 100)), invalid);
    await assert.rejects(decoded(coding, randomBytes(50_000)), invalid);
    for (const behind of [Buffer.alloc(1), randomBytes(30_000)]) {
      await assert.rejects(
        decoded(coding, Buffer.concat([packed, behind])),
        invalid,
        `${behind.length} more`,
      );
    }
  });
}

test('zstd: every frame is decoded, where this Node has zstd at all', async () => {
  assert.equal(DECODABLE.includes('zstd'), 'createZstdDecompress' in zlib);
  if (!DECODABLE.includes('zstd')) return;
  const half = PLAIN.length >> 1;
  const packed = Buffer.concat([packZstd(PLAIN.subarray(0, half)), packZstd(PLAIN.subarray(half))]);
  assert.ok((await decoded('zstd', packed)).equals(PLAIN));
  for (const length of [packed.length - 1, packZstd(PLAIN.subarray(0, half)).length - 1, 3]) {
    await assert.rejects(decoded('zstd', packed.subarray(0, length)), invalid, `${length}`);
  }
  const damaged = Buffer.from(packed);
  damaged[packed.length - 10] = (damaged[packed.length - 10] as number) ^ 1;
  await assert.rejects(decoded('zstd', damaged), invalid);
});

test('a failure of the bytes comes through as it is, and a reader that stops ends them', async () => {
  const broken = new CacheError('upstream', 'reset');
  let ended = false;
  async function* failing(): AsyncGenerator<Buffer> {
    try {
      yield zlib.gzipSync(PLAIN).subarray(0, 50_000);
      throw broken;
    } finally {
      ended = true;
    }
  }
  await assert.rejects(
    async () => {
      for await (const _ of decode('gzip', failing()));
    },
    (error) => error === broken,
  );
  assert.ok(ended);
});

test('a reader that stops ends what it reads from', async () => {
  let ended = () => {};
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  async function* endless(): AsyncGenerator<Buffer> {
    try {
      for (const packed = zlib.gzipSync(PLAIN); ; ) yield packed;
    } finally {
      ended();
    }
  }
  for await (const _ of decode('gzip', endless())) break;
  await end;
});

test('zstd, where this Node has it: what is read from is ended by a failure, and by a reader that stops', {
  timeout: 20_000,
}, async () => {
  if (!DECODABLE.includes('zstd')) return;
  const packed = packZstd(PLAIN);
  const damaged = Buffer.from(packed);
  damaged[20_000] = (damaged[20_000] as number) ^ 1;
  for (const data of [packed, damaged, randomBytes(50_000)]) {
    let ended = () => {};
    const end = new Promise<void>((resolve) => {
      ended = resolve;
    });
    async function* endless(): AsyncGenerator<Buffer> {
      try {
        for (;;) yield* cut(data);
      } finally {
        ended();
      }
    }
    const read = async () => {
      for await (const _ of decode('zstd', endless())) if (data === packed) break;
    };
    if (data === packed) await read();
    else await assert.rejects(read(), invalid);
    await end;
  }
});
