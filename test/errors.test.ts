import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError, describe, isCacheError, isErrno } from '../lib/errors.ts';

test('a description is the message, and the cause where that adds something', () => {
  const cause = new Error('the disk is full');
  for (const [error, text] of [
    [new CacheError('storage', 'a'), 'a'],
    [new CacheError('storage', 'a', cause), 'a: the disk is full'],
    [new CacheError('storage', 'a: the disk is full', cause), 'a: the disk is full'],
    [new CacheError('storage', 'a', new CacheError('storage', 'b', cause)), 'a: b: the disk is full'],
    [new AggregateError([new Error('one'), new Error('two')]), 'one; two'],
    [new TypeError(), 'TypeError'],
    ['text', 'text'],
    [undefined, 'undefined'],
  ] as const) {
    assert.equal(describe(error), text);
  }
});

test('an error is known by its code', () => {
  const ours = new CacheError('invalid', 'x');
  assert.deepEqual(
    [
      isCacheError(ours),
      isCacheError(ours, 'invalid'),
      isCacheError(ours, 'full'),
      isCacheError(new Error()),
    ],
    [true, true, false, false],
  );
  const gone = Object.assign(new Error('x'), { code: 'ENOENT' });
  assert.deepEqual(
    [isErrno(gone, 'EPERM', 'ENOENT'), isErrno(gone, 'EPERM'), isErrno({ code: 'ENOENT' }, 'ENOENT')],
    [true, false, false],
  );
});
