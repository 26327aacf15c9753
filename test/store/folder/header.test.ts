import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCacheError } from '../../../lib/errors.ts';
import { decodeHeader, encodeHeader, HEADER_BYTES } from '../../../lib/store/folder/header.ts';
import type { ObjectMeta } from '../../../lib/store/store.ts';

const META: ObjectMeta = {
  ...{ path: '/nar/ü.nar', kind: 'nar', origin: 'push', storedAt: new Date(1e12), size: 7 },
  ...{ sha256: 'ab'.repeat(32), narHash: 'sha256:0', otherNars: ['/nar/other.nar'] },
};

test('a header is one line of a fixed length that says what the body behind it is', () => {
  const header = encodeHeader(META);
  assert.deepEqual([header.length, header.indexOf('\n')], [HEADER_BYTES, HEADER_BYTES - 1]);
  assert.deepEqual(decodeHeader(Buffer.concat([header, Buffer.from('body')])), {
    meta: META,
    length: HEADER_BYTES,
  });
  const { format, path } = JSON.parse(header.toString());
  assert.deepEqual([format, path], [1, META.path]);
});

test('one that would not fit is refused, by bytes', () => {
  const room = HEADER_BYTES - 1 - Buffer.byteLength(JSON.stringify({ format: 1, ...META, origin: '' }));
  assert.equal(decodeHeader(encodeHeader({ ...META, origin: 'x'.repeat(room) })).meta.origin.length, room);
  for (const origin of ['x'.repeat(room + 1), 'ü'.repeat(room / 2 + 1)])
    assert.throws(
      () => encodeHeader({ ...META, origin }),
      (error) => isCacheError(error, 'storage'),
    );
});

test('what is no header of ours is damage', () => {
  const fields = JSON.parse(encodeHeader(META).toString());
  const damaged = (text: string) =>
    assert.throws(
      () => decodeHeader(Buffer.from(text)),
      (error) => isCacheError(error, 'damaged'),
      text,
    );
  for (const text of [
    '',
    'x',
    '\n',
    'null\n',
    '[]\n',
    '1\n',
    '"x"\n',
    JSON.stringify(fields),
    `${' '.repeat(4096)}\n`,
  ])
    damaged(text);
  for (const other of [
    ...[{ format: 2 }, { path: 1 }, { kind: 'x' }, { origin: null }, { storedAt: 'x' }, { storedAt: 1 }],
    ...[
      { size: -1 },
      { size: 1.5 },
      { size: '7' },
      { sha256: undefined },
      { narHash: 1 },
      { otherNars: 1 },
      { otherNars: [1] },
    ],
  ])
    damaged(`${JSON.stringify({ ...fields, ...other })}\n`);
});
