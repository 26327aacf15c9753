// Puts a small body, whole in memory, into the store.
import { createHash } from 'node:crypto';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import type { PutOptions, Store } from '../store/store.ts';

/** @throws CacheError `storage` */
export async function storeBytes(
  store: Store,
  name: ObjectName,
  body: Buffer,
  origin: string,
  options: PutOptions,
): Promise<'stored' | 'exists'> {
  const spool = store.spool();
  try {
    await spool.write(body, 0);
    const sha256 = createHash('sha256').update(body).digest('hex');
    const meta = {
      path: pathOf(name),
      kind: name.kind,
      origin,
      storedAt: new Date(),
      size: body.length,
      sha256,
    };
    return await store.put(spool, meta, options);
  } finally {
    await spool.close();
  }
}
