// The verdict on a body: each thing that is known of it beforehand tells by itself that another body is wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Growing } from '../../lib/download/growing.ts';
import { type Expected, verify } from '../../lib/download/verify.ts';
import { isCacheError } from '../../lib/errors.ts';
import type { Spool } from '../../lib/store/scratch.ts';
import { digest, hashOf, NOTHING } from '../fixtures/download.ts';

const PLAIN = Buffer.from('a NAR of some bytes');
const PACKED = gzipSync(PLAIN);
const WRONG = hashOf('something else');

function inMemory(): Spool {
  const bytes = Buffer.alloc(1000);
  return {
    ready: async () => {},
    write: async (chunk, at) => void bytes.set(chunk, at),
    read: async (buffer, at) => bytes.copy(buffer, 0, at),
    close: async () => {},
  };
}

/** A file that is there from the first byte to the last. */
async function grown(body: Buffer): Promise<Growing> {
  const growing = new Growing(inMemory(), { size: undefined, isJudged: true });
  await growing.write(body, 0);
  growing.advance(body.length);
  growing.end('filled');
  return growing;
}

const nar = (compression: 'none' | 'gzip' | 'xz', narHash: typeof WRONG, narSize?: number): Expected => ({
  ...NOTHING,
  nar: { compression, narHash, narSize },
});

for (const [what, body, expected, complaint] of [
  ['another size', PLAIN, { ...NOTHING, fileSize: 7 }, /: size is wrong: expected 7, found 19$/],
  ['another hash', PLAIN, { ...NOTHING, fileHash: WRONG }, /: SHA-256 is wrong: expected /],
  ['another NarSize', PLAIN, nar('none', hashOf(PLAIN), 7), /: NarSize is wrong: expected 7, found 19$/],
  ['another NarHash', PLAIN, nar('none', WRONG), /: NarHash is wrong: /],
  ['another NarHash inside', PACKED, nar('gzip', WRONG), /: NarHash is wrong: /],
  ['another NarSize inside', PACKED, nar('gzip', hashOf(PLAIN), 7), /: NarSize is wrong: .* more than 7$/],
  ['more NarSize inside', PACKED, nar('gzip', hashOf(PLAIN), 70), /: NarSize is wrong: .* found 19$/],
] as const) {
  test(`${what} than it should have is wrong`, async () => {
    const verdict = verify(await grown(body), expected, 'it');
    await assert.rejects(verdict, (error) => isCacheError(error, 'invalid') && complaint.test(error.message));
  });
}

test('what is as it should be is right, and so is what nothing is known of', async () => {
  for (const [body, expected] of [
    [PLAIN, NOTHING],
    [PLAIN, { ...nar('none', hashOf(PLAIN), PLAIN.length), fileSize: PLAIN.length, fileHash: hashOf(PLAIN) }],
    [PACKED, { ...nar('gzip', hashOf(PLAIN), PLAIN.length), fileHash: hashOf(PACKED) }],
    [PACKED, nar('gzip', hashOf(PLAIN))],
    [PACKED, nar('xz', WRONG)],
  ] as const) {
    const { sha256, size } = await verify(await grown(body), expected, 'it');
    assert.deepEqual([sha256, size], [digest(body).toString('hex'), body.length]);
  }
});

test('it follows the file until it is told that this was the end, or that there is no more', async () => {
  for (const end of ['filled', 'broken'] as const) {
    const growing = new Growing(inMemory(), { size: undefined, isJudged: true });
    const verdict = verify(growing, { ...NOTHING, fileHash: hashOf(PLAIN) }, 'it');
    verdict.catch(() => {});
    for (const [at, byte] of PLAIN.entries()) {
      await growing.write(Buffer.of(byte), at);
      growing.advance(at + 1);
    }
    growing.end(end);
    if (end === 'filled') assert.equal((await verdict).size, PLAIN.length);
    else await assert.rejects(verdict, (error) => isCacheError(error, 'aborted'));
  }
});
