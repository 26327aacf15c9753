// What the header of a file that is checked says it is.
import { CacheError } from '../errors.ts';
import { type ObjectName, parseObjectName } from '../nix/object-name.ts';
import { decodeHeader } from '../store/folder/header.ts';
import { idOf } from '../store/object-id.ts';
import type { ObjectMeta } from '../store/store.ts';
import type { CheckedFile } from './checked-file.ts';

/** @throws CacheError `damaged` if the file has no header, or another object's */
export async function readMeta(
  file: CheckedFile,
): Promise<{ meta: ObjectMeta; from: number; name: ObjectName }> {
  const { length, meta } = decodeHeader(await file.head());
  const name = parseObjectName(meta.path.slice(1), '');
  if (idOf(meta.path) !== file.source.id)
    throw new CacheError('damaged', `its header says it is ${meta.path}`);
  if (name === undefined || name.kind !== meta.kind)
    throw new CacheError('damaged', `its header calls ${meta.path} a ${meta.kind}`);
  // An invalid origin would make a pushed object collectable: only the origin says that it was pushed.
  if (!/^(?:push|unknown|https?:\/\/.+)$/.test(meta.origin))
    throw new CacheError('damaged', `its header says it came from ${JSON.stringify(meta.origin)}`);
  return { meta, from: length, name };
}
