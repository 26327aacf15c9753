import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attempt, counted, type TransferWatch } from '../../lib/carry/transfer.ts';
import { CacheError, type ErrorCode, isCacheError } from '../../lib/errors.ts';

function watching(): { told: string[]; watch: TransferWatch } {
  const told: string[] = [];
  const watch: TransferWatch = {
    total: () => {},
    bytes: (count) => told.push(`${count} bytes`),
    besides: () => {},
    looked: () => {},
    done: () => {},
    failed: (label, why) => told.push(`${label}: ${why}`),
  };
  return { told, watch };
}

const failing = (error: unknown) => async () => {
  throw error;
};

test('what is about one path is told, and the next is tried; what the next would meet too ends it', async () => {
  const { signal } = new AbortController();
  const { told, watch } = watching();
  assert.equal(await attempt({ watch, signal }, 'a', async () => 7), 7);
  const passing: ErrorCode[] = [
    'invalid',
    'not-found',
    'upstream',
    'proxy',
    'timeout',
    'damaged',
    'too-large',
  ];
  for (const code of passing) await attempt({ watch, signal }, 'a', failing(new CacheError(code, code)));
  assert.deepEqual(
    told,
    passing.map((code) => `a: ${code}`),
  );
  for (const error of [new CacheError('storage', 'x'), new CacheError('full', 'x'), new TypeError('x')])
    await assert.rejects(attempt({ watch, signal }, 'a', failing(error)), error);
  assert.equal(told.length, passing.length);
});

test('once it is aborted every failure is that, and no byte more is counted', async () => {
  const stop = new AbortController();
  const { told, watch } = watching();
  const chunks = async function* () {
    yield Buffer.alloc(3);
    stop.abort();
    yield Buffer.alloc(4);
  };
  const aborted = (error: unknown) => isCacheError(error, 'aborted');
  const all = async () => {
    for await (const _ of counted(chunks(), watch, stop.signal));
  };
  await assert.rejects(all(), aborted);
  const late = attempt({ watch, signal: stop.signal }, 'a', failing(new CacheError('invalid', 'x')));
  await assert.rejects(late, aborted);
  assert.deepEqual(told, ['3 bytes']);
});
