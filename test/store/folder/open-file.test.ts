import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import type { Descriptor } from '../../../lib/store/folder/descriptor.ts';
import { OpenFile } from '../../../lib/store/folder/open-file.ts';
import type { ObjectMeta } from '../../../lib/store/store.ts';
import { sha256 } from '../../fixtures/nar.ts';

const PIECE = 64 * 1024;
const BODY = Buffer.alloc(10 * PIECE, 'a body');
const META: ObjectMeta = {
  ...{ path: '/nar/x.nar', kind: 'nar', origin: 'push', storedAt: new Date(0), size: BODY.length },
  sha256: sha256(BODY).toString('hex'),
};

/** An object whose file has these bytes. */
function opened(bytes: Buffer, trusted = false) {
  const deeds: string[] = [];
  const deed = async (what: string) => void deeds.push(what);
  const descriptor = {
    read: async (buffer: Buffer, offset: number, length: number, position: number) =>
      bytes.copy(buffer, offset, position, position + length),
    done: () => deed('closed'),
  } as unknown as Descriptor;
  const file = new OpenFile({
    known: { file: 'x', descriptor, mtimeMs: Date.now(), meta: META, bodyAt: 0, version: '1', hotUntil: 0 },
    ...{ begun: bytes.subarray(0, 100), trusted, noteUse: () => deed('used') },
    onRead: () => {},
    onRight: () => void deeds.push('right'),
    onDamage: (reason) => deed(reason.replace(/[0-9a-f]{64}/g, '…')),
  });
  return { deeds, file, descriptor };
}

const isDamaged = (error: unknown) => isCacheError(error, 'damaged');

test('whoever reads for hours uses it all the time, which is noted every ten minutes', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const { deeds, file } = opened(BODY, true);
  file.used();
  const reader = file.reader(0, BODY.length);
  while ((await reader.read()) !== undefined) now += 4 * 60_000;
  // At 12, 24 and 36 minutes.
  assert.deepEqual(deeds, ['used', 'used', 'used', 'closed']);
});

test('read in full it is right, or damaged before its end; nothing is hashed of a part, or of what is trusted', async () => {
  const wrong = Buffer.from(BODY);
  wrong.writeUInt8(0, 5);
  for (const [bytes, from, trusted, expected] of [
    [BODY, 0, false, ['right', 'closed']],
    [BODY, 1, false, ['closed']],
    [wrong, 1, false, ['closed']],
    [wrong, 0, true, ['closed']],
  ] as const) {
    const { deeds, file } = opened(bytes, trusted);
    const reader = file.reader(from, BODY.length);
    while ((await reader.read()) !== undefined);
    assert.deepEqual(deeds, expected);
  }
  const { deeds, file } = opened(wrong);
  const reader = file.reader(0, BODY.length);
  for (let piece = 1; piece < 10; piece++) await reader.read();
  await assert.rejects(reader.read(), isDamaged);
  assert.deepEqual(deeds, ['the SHA-256 of its body is …, its header says …']);
});

test('what was read with the header is not read again', async () => {
  const { deeds, file } = opened(BODY);
  assert.ok((await file.bytes()).equals(BODY));
  // Nor remembered as right: whoever wants it in one piece has it checked each time.
  assert.deepEqual(deeds, ['closed']);
});

test('what the disk does not give is a failure of the disk, however it is read, and closes the file', async (t) => {
  const isRefused = (error: unknown) => isCacheError(error, 'storage') && /read x: EIO/.test(error.message);
  for (const isPiecewise of [true, false]) {
    const { deeds, file, descriptor } = opened(BODY);
    t.mock.method(descriptor, 'read', async () => {
      throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
    });
    const reader = file.reader(0, BODY.length);
    await assert.rejects(isPiecewise ? reader.read() : file.bytes(), isRefused);
    reader.close();
    await file.close();
    assert.deepEqual(deeds, ['closed'], 'once, however often that is asked for: others may have it open');
  }
});

test('a file that is shorter than it was is damaged, however it is read', async () => {
  const short = BODY.subarray(0, BODY.length - 1);
  const reason = `it ends after ${short.length} of ${BODY.length} bytes`;
  const whole = opened(short);
  await assert.rejects(whole.file.bytes(), isDamaged);
  assert.deepEqual(whole.deeds, [reason, 'closed']);
  const part = opened(short);
  const reader = part.file.reader(BODY.length - 10, BODY.length);
  assert.equal((await reader.read())?.length, 9);
  await assert.rejects(reader.read(), isDamaged);
  assert.deepEqual(part.deeds, [reason]);
});
