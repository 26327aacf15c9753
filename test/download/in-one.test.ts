// What is read in one piece is judged there; whatever else comes is given on as if nothing had been read of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { mayBeInOne, readInOne } from '../../lib/download/in-one.ts';
import type { Expected } from '../../lib/download/verify.ts';
import { CacheError } from '../../lib/errors.ts';
import { sha256FromBytes } from '../../lib/nix/hash.ts';
import type { Answer } from '../../lib/upstream/answer.ts';
import { noise, sha256 } from '../fixtures/nar.ts';

const BODY = noise(20_000, 'a small body');
const PLAIN: Expected = {
  fileHash: sha256FromBytes(sha256(BODY)),
  fileSize: BODY.length,
  nar: { compression: 'none', narHash: sha256FromBytes(sha256(BODY)), narSize: BODY.length },
};
const never = new AbortController().signal;

/** An answer of these chunks, an Error being where it breaks off. */
function answerOf(...chunks: (Buffer | Error)[]) {
  let destroyed = 0;
  const body: Answer['body'] = {
    async *[Symbol.asyncIterator]() {
      for (const chunk of chunks) {
        if (chunk instanceof Error) throw chunk;
        yield chunk;
      }
    },
    destroy: () => void destroyed++,
  };
  const whole = { size: BODY.length, start: 0, end: BODY.length, partial: false, delimited: true };
  return { answer: { ...whole, body, validator: undefined } satisfies Answer, destroyed: () => destroyed };
}

async function bytesOf({ body }: Pick<Answer, 'body'>): Promise<{ bytes: Buffer; error: unknown }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of body) chunks.push(chunk);
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error };
  }
  return { bytes: Buffer.concat(chunks), error: undefined };
}

/** Sees that it is no whole body, and that what is given on is what would have come. */
async function assertGivenOn(expected: Expected, chunks: readonly (Buffer | Error)[]): Promise<void> {
  const read = await readInOne(answerOf(...chunks).answer, expected, 'it', never);
  assert.equal(read.kind, 'other');
  const { bytes, error } = await bytesOf(read.answer);
  assert.ok(bytes.equals(Buffer.concat(chunks.filter((chunk) => Buffer.isBuffer(chunk)))));
  assert.equal(
    error,
    chunks.find((chunk) => chunk instanceof Error),
  );
}

test('only what a hash of the file tells, and is small, may come in one', () => {
  assert.ok(mayBeInOne(PLAIN));
  for (const other of [
    { fileHash: undefined },
    { fileSize: undefined },
    { fileSize: 0 },
    { fileSize: 64 * 1024 + 1 },
    { said: 5 },
    { otherFileHash: { algorithm: 'sha512', bytes: Buffer.alloc(64) } } as const,
  ])
    assert.ok(!mayBeInOne({ ...PLAIN, ...other }), JSON.stringify(other));
});

test('what is whole and right is had at once, in however many chunks it comes', async () => {
  for (const size of [BODY.length, 1000]) {
    const chunks = [];
    for (let at = 0; at < BODY.length; at += size) chunks.push(BODY.subarray(at, at + size));
    const read = await readInOne(answerOf(...chunks).answer, PLAIN, 'it', never);
    assert.ok(read.kind === 'right' && read.body.equals(BODY));
    assert.deepEqual(read.arrived, { size: BODY.length, sha256: sha256(BODY).toString('hex') });
  }
});

test('a packed NAR is right if what is in it is', async () => {
  const file = gzipSync(BODY);
  const expected: Expected = {
    fileHash: sha256FromBytes(sha256(file)),
    fileSize: file.length,
    nar: { compression: 'gzip', narHash: sha256FromBytes(sha256(BODY)), narSize: BODY.length },
  };
  const read = await readInOne(answerOf(file).answer, expected, 'it', never);
  assert.ok(read.kind === 'right' && read.body.equals(file));
  const nar = { compression: 'gzip', narHash: sha256FromBytes(sha256(file)), narSize: BODY.length } as const;
  await assertGivenOn({ ...expected, nar }, [file]);
});

test('what is wrong, cut, too long or broken off is given on, with what is wrong with it', async () => {
  const wrong = Buffer.from(BODY);
  wrong[100] = (wrong[100] as number) ^ 1;
  const broken = new CacheError('upstream', 'it broke off');
  for (const chunks of [
    [wrong],
    [BODY.subarray(0, -1)],
    [BODY, Buffer.from('x')],
    [Buffer.concat([BODY, Buffer.from('x')]), BODY],
    [],
    [broken],
    [BODY.subarray(0, 5000), broken],
  ])
    await assertGivenOn(PLAIN, chunks);
  await assertGivenOn({ ...PLAIN, nar: { ...(PLAIN.nar as NonNullable<Expected['nar']>), narSize: 5 } }, [
    BODY,
  ]);
});

test('what comes too slowly is given on before all of it is there', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let goOn = () => {};
  const waiting = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const { answer } = answerOf();
  const body: Answer['body'] = {
    ...answer.body,
    async *[Symbol.asyncIterator]() {
      yield BODY.subarray(0, 5000);
      await waiting;
      yield BODY.subarray(5000, 6000);
      yield BODY.subarray(6000);
    },
  };
  const reading = readInOne({ ...answer, body }, PLAIN, 'it', never);
  await new Promise(setImmediate);
  t.mock.timers.tick(1000);
  const read = await reading;
  assert.equal(read.kind, 'other');
  const rest = bytesOf(read.answer);
  goOn();
  assert.ok((await rest).bytes.equals(BODY));
});

test('who ends it has the body let go of', async () => {
  const stop = new AbortController();
  const { answer, destroyed } = answerOf(BODY);
  const reading = readInOne(answer, PLAIN, 'it', stop.signal);
  stop.abort(new Error('the service stops'));
  assert.equal(destroyed(), 1);
  await reading;
  stop.abort();
  assert.equal(destroyed(), 1, 'nobody listens any more');
});

test('what is let go of before its end has ended for whoever counts its bytes', async () => {
  for (const [most, reads] of [
    [BODY.length, 1],
    [BODY.length, 0],
    [BODY.length + 1, 2],
  ] as const) {
    let ended = 0;
    const { answer, destroyed } = answerOf();
    const body: Answer['body'] = {
      ...answer.body,
      async *[Symbol.asyncIterator]() {
        try {
          yield BODY.subarray(0, 5000);
          yield Buffer.concat([BODY.subarray(5000), Buffer.alloc(5)]);
          yield BODY;
        } finally {
          ended++;
        }
      },
    };
    const read = await readInOne({ ...answer, body }, { ...PLAIN, fileSize: most }, 'it', never);
    assert.equal(read.kind, 'other');
    let left = reads;
    if (left > 0) for await (const _ of read.answer.body) if (--left === 0) break;
    read.answer.body.destroy();
    await new Promise(setImmediate);
    assert.deepEqual([ended, destroyed()], [1, 1], `after ${reads} chunks`);
  }
});
