import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { ZstdFrames } from '../../lib/bytes/zstd-frames.ts';
import { isCacheError } from '../../lib/errors.ts';
import { zstd } from '../fixtures/packers.ts';
import { randomSource } from '../fixtures/random.ts';

/** The frames that the splitter finds when it is fed in pieces of random size, each lent to it until the next. */
function split(stream: Buffer, seed: number): Buffer[] {
  const random = randomSource(seed);
  const frames = new ZstdFrames();
  const found: Buffer[] = [];
  let frame: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const size = 1 + Math.floor(random() ** 4 * stream.length);
    const piece = Buffer.from(stream.subarray(at, at + size));
    for (const { bytes, last } of frames.push(piece)) {
      frame.push(Buffer.from(bytes));
      if (!last) continue;
      found.push(Buffer.concat(frame));
      frame = [];
    }
    at += size;
    piece.fill(0xff);
  }
  frames.end();
  assert.equal(frame.length, 0);
  return found;
}

// As zstd 1.5.4 packs nothing, x, 300 000 bytes of `ab` and 10 000 of zero, each as it does unasked, with `--no-check`, and with
// `--no-content-size -1`.
const PACKED = [
  '28b52ffd240001000099e9d851',
  '28b52ffd2000010000',
  '28b52ffd040001000099e9d851',
  '28b52ffd04580900007823110483',
  '28b52ffd005809000078',
  '28b52ffd04480900007823110483',
  '28b52ffd04585400001061620100fbffe50e0b4c000008610100fcff3910024d000008610100dc131d0801a65b2238',
  '28b52ffd00585400001061620100fbffe50e0b4c000008610100fcff3910024d000008610100dc131d0801',
  '28b52ffd04485400001061620100fbffe50e0b4c000008610100fcff3910024d000008610100dc131d0801a65b2238',
  '28b52ffd04584d000010000001000b8707580144e310',
  '28b52ffd00584d000010000001000b870758',
  '28b52ffd04484d000010000001000b8707580144e310',
].map((hex) => Buffer.from(hex, 'hex'));
// The same of `hello`.
const HELLO = Buffer.from('28b52ffd045829000068656c6c6fa36d9f88', 'hex');

test('frames of every shape are found wherever the pieces end', () => {
  const frames = [...PACKED, zstd(randomBytes(300_000)), HELLO, zstd(Buffer.alloc(0))];
  for (let seed = 0; seed < 50; seed++) assert.deepEqual(split(Buffer.concat(frames), seed), frames);
});

test('skippable frames are skipped', () => {
  const skippable = Buffer.concat([Buffer.from('532a4d1803000000', 'hex'), Buffer.from('xyz')]);
  assert.deepEqual(split(Buffer.concat([skippable, HELLO, skippable]), 1), [HELLO]);
});

test('a stream that is cut off anywhere, or is none, is refused', () => {
  const stream = Buffer.concat([zstd(randomBytes(100)), HELLO]);
  const first = zstd(randomBytes(100)).length;
  for (let length = 0; length < stream.length; length++) {
    if (length === first) continue;
    assert.throws(
      () => split(stream.subarray(0, length), length),
      (error) => isCacheError(error, 'invalid'),
      `${length}`,
    );
  }
  assert.throws(
    () => split(Buffer.from('not zstd at all'), 1),
    (error) => isCacheError(error, 'invalid'),
  );
  assert.throws(
    () => split(Buffer.concat([stream, Buffer.from('trail')]), 1),
    (error) => isCacheError(error, 'invalid'),
  );
});
