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
  const put: Store['put'] = async (_, meta) => {
    deeds.push('put');
    metas.push(meta);
    return 'stored';
  };
  const scratch: Partial<Scratch> = { spool: () => spool };
  const store: Partial<Store> = { put };
  return { storage: { scratch: scratch as Scratch, store: store as Store }, deeds, metas };
}

async function* body(deeds: string[]): AsyncGenerator<Buffer> {
  deeds.push('asked for');
  yield Buffer.from('one');
  yield Buffer.from('three');
}

test('a body is asked for when there is a file, written piece by piece, and put with what it turned out to be', async () => {
  const { deeds, metas, storage } = spoolingStore();
  const described: string[] = [];
  const describe = (digest: Buffer) => {
    described.push(digest.toString('hex'));
    return NAME;
  };
  assert.equal(await storeBody(storage, body(deeds), describe, OPTIONS), 'stored');
  assert.deepEqual(deeds, ['ready', 'asked for', 'write 3 at 0', 'write 5 at 3', 'put', 'close']);
  const hash = sha256('onethree').toString('hex');
  assert.deepEqual(described, [hash]);
  assert.deepEqual(
    metas.map(({ path, size, sha256 }) => [path, size, sha256]),
    [[NAME.path, 8, hash]],
  );
});

test('where there can be no file nobody is asked for a byte', async () => {
  const { deeds, storage } = spoolingStore('ready');
  const stored = storeBody(storage, body(deeds), () => NAME, OPTIONS);
  await assert.rejects(stored, (error) => isCacheError(error, 'storage'));
  assert.deepEqual(deeds, ['ready', 'close']);
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
    await assert.rejects(storeBody(storage, body(deeds), describe, OPTIONS), isCacheError);
    assert.ok(!deeds.includes('put'));
    assert.equal(deeds.at(-1), 'close');
  }
});
