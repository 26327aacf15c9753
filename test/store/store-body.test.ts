import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import type { Scratch, Spool } from '../../lib/store/scratch.ts';
import type { Storage } from '../../lib/store/storage.ts';
import type { ObjectMeta, Store } from '../../lib/store/store.ts';
import type { Described } from '../../lib/store/store-body.ts';
import { storeBody } from '../../lib/store/store-body.ts';
import { sha256 } from '../fixtures/nar.ts';

const NAME: Described = { path: '/log/x.drv', kind: 'log', origin: 'push', narHash: undefined };
const OPTIONS = { when: 'absent', durable: false } as const;

/** A store that does nothing but say what was asked of it, and fails at this. */
function spoolingStore(failing?: keyof Spool): {
  storage: Pick<Storage, 'scratch' | 'store'>;
  deeds: string[];
  metas: ObjectMeta[];
} {
  const deeds: string[] = [];
  const metas: ObjectMeta[] = [];
  const deed = async (name: keyof Spool, what: string) => {
    deeds.push(what);
    if (name === failing) throw new CacheError('storage', `no ${name}`);
  };
  const spool: Spool = {
    ready: () => deed('ready', 'ready'),
    write: (chunk, offset) => deed('write', `write ${chunk.length} at ${offset}`),
    read: async () => 0,
    close: () => deed('close', 'close'),
  };
  const put: Store['put'] = async (whole, meta) => {
    deeds.push(Buffer.isBuffer(whole) ? `put ${whole.length}` : 'put');
    if (Buffer.isBuffer(whole)) assert.equal(sha256(whole).toString('hex'), meta.sha256);
    metas.push(meta);
    return 'stored';
  };
  const scratch: Partial<Scratch> = { spool: () => spool };
  const store: Partial<Store> = { put };
  return { storage: { scratch: scratch as Scratch, store: store as Store }, deeds, metas };
}

const K = 1024;

/** In pieces of these sizes, each of which is only lent. */
async function* body(deeds: string[], ...sizes: readonly number[]): AsyncGenerator<Buffer> {
  const lent = Buffer.alloc(Math.max(...sizes));
  for (const [i, size] of sizes.entries()) {
    deeds.push('asked for');
    yield lent.fill(i, 0, size).subarray(0, size);
  }
}

function hashOf(...sizes: readonly number[]): string {
  return sha256(Buffer.concat(sizes.map((size, i) => Buffer.alloc(size, i)))).toString('hex');
}

for (const { what, sizes, expected } of [
  { what: 'a small body needs no file', sizes: [3, 5], expected: ['asked for', 'asked for', 'put 8'] },
  {
    what: 'more of a body than a little is asked for when there is a file, and written piece by piece',
    sizes: [40 * K, 20 * K, 10 * K, 5],
    expected: [
      ...[
        'asked for',
        'asked for',
        'asked for',
        'ready',
        `write ${60 * K} at 0`,
        `write ${10 * K} at ${60 * K}`,
      ],
      ...['asked for', `write 5 at ${70 * K}`, 'put', 'close'],
    ],
  },
  {
    what: 'one that comes in one large piece is written at once',
    sizes: [100 * K],
    expected: ['asked for', 'ready', `write ${100 * K} at 0`, 'put', 'close'],
  },
]) {
  test(`${what}; it is put with what it turned out to be`, async () => {
    const { deeds, metas, storage } = spoolingStore();
    const described: string[] = [];
    const describe = (digest: Buffer) => {
      described.push(digest.toString('hex'));
      return NAME;
    };
    assert.equal(await storeBody(storage, body(deeds, ...sizes), describe, OPTIONS), 'stored');
    assert.deepEqual(deeds, expected);
    const [size, hash] = [sizes.reduce((sum, one) => sum + one, 0), hashOf(...sizes)];
    assert.deepEqual(described, [hash]);
    assert.deepEqual(
      metas.map((meta) => [meta.path, meta.size, meta.sha256]),
      [[NAME.path, size, hash]],
    );
  });
}

test('where there can be no file nobody is asked for more than a little', async () => {
  const { deeds, storage } = spoolingStore('ready');
  const stored = storeBody(storage, body(deeds, 60 * K, 60 * K, 60 * K), () => NAME, OPTIONS);
  await assert.rejects(stored, (error) => isCacheError(error, 'storage'));
  assert.deepEqual(deeds, ['asked for', 'asked for', 'ready', 'close']);
});

test('what fails, and what is not to be kept, is not put, and leaves nothing open', async () => {
  for (const [failing, describe] of [
    ['write', () => NAME],
    [
      undefined,
      () => {
        throw new CacheError('invalid', 'wrong');
      },
    ],
  ] as const) {
    const { deeds, storage } = spoolingStore(failing);
    const stored = storeBody(storage, body(deeds, 60 * K, 60 * K), describe, OPTIONS);
    await assert.rejects(stored, isCacheError);
    assert.ok(!deeds.includes('put'));
    assert.equal(deeds.at(-1), 'close');
  }
});
