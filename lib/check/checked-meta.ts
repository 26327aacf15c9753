// What an object that is checked says it is.
import { CacheError } from '../errors.ts';
import { type ObjectName, parseObjectName } from '../nix/object-name.ts';
import type { ObjectMeta } from '../store/store.ts';
import type { Inspected } from '../store/upkeep.ts';

/** @throws CacheError `damaged` if nothing that makes sense is kept with it */
export function metaOf({ damage, meta }: Inspected): {
  readonly meta: ObjectMeta;
  readonly name: ObjectName;
} {
  if (meta === undefined) throw new CacheError('damaged', damage ?? 'nothing says what it is');
  const name = parseObjectName(meta.path.slice(1), '');
  if (name === undefined || name.kind !== meta.kind)
    throw new CacheError('damaged', `its header calls ${meta.path} a ${meta.kind}`);
  // An invalid origin would make a pushed object collectable: only the origin says that it was pushed.
  if (!/^(?:push|unknown|https?:\/\/.+)$/.test(meta.origin))
    throw new CacheError('damaged', `its header says it came from ${JSON.stringify(meta.origin)}`);
  return { meta, name };
}
