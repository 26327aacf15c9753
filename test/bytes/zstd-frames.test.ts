import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { ZstdFrames } from '../../lib/bytes/zstd-frames.ts';
import { isCacheError } from '../../lib/errors.ts';
import { randomSource } from '../fixtures/random.ts';
import { need } from '../system/fixtures/need.ts';

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

const zstd = (data: Buffer, ...args: string[]) =>
  execFileSync('zstd', ['-q', '-c', ...args], { input: data });

test('frames of every shape are found wherever the pieces end', { skip: need('zstd') }, () => {
  const bodies = [
    Buffer.alloc(0),
    Buffer.from('x'),
    Buffer.alloc(300_000, 'ab'),
    randomBytes(300_000),
    Buffer.alloc(10_000),
  ];
  const frames = bodies.flatMap((body) => [
    zstd(body),
    zstd(body, '--no-check'),
    zstd(body, '--no-content-size', '-1'),
  ]);
  for (let seed = 0; seed < 50; seed++) assert.deepEqual(split(Buffer.concat(frames), seed), frames);
});

test('skippable frames are skipped', { skip: need('zstd') }, () => {
  const skippable = Buffer.concat([Buffer.from('532a4d1803000000', 'hex'), Buffer.from('xyz')]);
  const frame = zstd(Buffer.from('hello'));
  assert.deepEqual(split(Buffer.concat([skippable, frame, skippable]), 1), [frame]);
});

test('a stream that is cut off anywhere, or is none, is refused', { skip: need('zstd') }, () => {
  const stream = Buffer.concat([zstd(randomBytes(100)), zstd(Buffer.from('hello'))]);
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
