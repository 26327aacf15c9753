// The index of debug information: which NAR has a file with that build id in it.
import { type ObjectName, parseObjectName } from './object-name.ts';

/** Longer than any index. */
export const MAX_INDEX_BYTES = 64 * 1024;

/** The NAR that an index leads to, from where it lies itself; undefined if that is none of this cache. */
export function archiveIn(text: string): Extract<ObjectName, { kind: 'nar' }> | undefined {
  let archive: unknown;
  try {
    archive = JSON.parse(text)?.archive;
  } catch {
    return undefined;
  }
  const base = 'http://cache.invalid/debuginfo/';
  if (typeof archive !== 'string' || !URL.canParse(archive, base)) return undefined;
  const { origin, pathname, search } = new URL(archive, base);
  const name =
    origin === new URL(base).origin ? parseObjectName(pathname.slice(1), search.slice(1)) : undefined;
  return name?.kind === 'nar' ? name : undefined;
}
