// Puts a body into the store: spooled and hashed as it comes, described when it is whole, then committed. A small one is written at
// once, with what the store puts before it: each write is a way to the disk that whoever pushes waits for.
import { createHash } from 'node:crypto';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import type { Spool } from './scratch.ts';
import type { Storage } from './storage.ts';
import type { ObjectMeta, PutOptions, Store } from './store.ts';

/** What of an object its bytes do not tell. */
export type Described = Pick<ObjectMeta, 'path' | 'kind' | 'origin' | 'narHash' | 'otherNars'>;

/** Kept in memory until it is whole. */
const SMALL_BYTES = 64 * 1024;

/**
 * What is more of `body` than a little is asked for when there is a file for it. `describe` gets its SHA-256 and its size, and throws
 * if it is not to be kept.
 * @throws CacheError `storage`, or what `body` or `describe` throws
 */
export async function storeBody(
  { scratch, store }: Pick<Storage, 'scratch' | 'store'>,
  body: AsyncIterable<Buffer> | Iterable<Buffer>,
  describe: (sha256: Buffer, size: number) => Described,
  options: PutOptions,
): Promise<'stored' | 'exists'> {
  const small: Buffer[] = [];
  let spool: Spool | undefined;
  try {
    const hash = createHash('sha256');
    let size = 0;
    for await (const piece of body) {
      if (spool === undefined && size + piece.length > SMALL_BYTES) {
        spool = scratch.spool();
        await spool.ready();
        if (size > 0) await spool.write(Buffer.concat(small), 0);
      }
      // Each is hashed while it is written, and only lent.
      const written = spool === undefined ? void small.push(Buffer.from(piece)) : spool.write(piece, size);
      hash.update(piece);
      await written;
      size += piece.length;
    }
    const digest = hash.digest();
    const meta = {
      ...describe(digest, size),
      storedAt: new Date(),
      size,
      sha256: digest.toString('hex'),
    };
    return await store.put(spool ?? Buffer.concat(small), meta, options);
  } finally {
    // Nobody waits for that.
    void spool?.close();
  }
}

/**
 * The same for a small body, whole in memory.
 * @throws CacheError `storage`
 */
export function storeBytes(
  store: Store,
  name: ObjectName,
  body: Buffer,
  origin: string,
  options: PutOptions,
): Promise<'stored' | 'exists'> {
  const meta = { path: pathOf(name), kind: name.kind, origin, storedAt: new Date(), size: body.length };
  const sha256 = createHash('sha256').update(body).digest('hex');
  return store.put(body, { ...meta, sha256 }, options);
}
