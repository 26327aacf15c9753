// What an object is to whoever looks after all of them: what belongs to what. Pure.
import { isCacheError } from '../errors.ts';
import { archiveIn, MAX_INDEX_BYTES } from '../nix/debug-index.ts';
import { narNameOf } from '../nix/nar-names.ts';
import { type NarInfo, parseNarInfo, storeDirIn } from '../nix/narinfo.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import { idOf } from './object-id.ts';
import type { ObjectMeta } from './store.ts';
import type { Facts } from './upkeep.ts';

/** By what is kept with it, and its body, which is asked for only where that is needed. */
export function factsOf(
  meta: ObjectMeta,
  text: () => string,
  storeDir: string,
): Pick<Facts, 'kind' | 'pushed' | 'ref' | 'archive'> {
  const pushed = meta.origin === 'push';
  switch (meta.kind) {
    case 'narinfo':
      return { kind: 'narinfo', pushed, ref: narRef(text(), meta.origin, storeDir) };
    case 'listing':
      return { kind: 'listing', pushed, ref: idOf(meta.path.replace(/\.ls$/, '.narinfo')) };
    case 'nar':
      return { kind: 'nar', pushed, ref: undefined };
    case 'debug-info': {
      const archive = meta.size < MAX_INDEX_BYTES ? archiveIn(text()) : undefined;
      const known = { kind: 'other', pushed, ref: undefined } as const;
      return archive === undefined ? known : { ...known, archive: idOf(pathOf(archive)) };
    }
    default:
      return { kind: 'other', pushed, ref: undefined };
  }
}

/** The id of the NAR that a narinfo with this text names; undefined for a text that is no narinfo. */
export function narRef(text: string, origin: string, storeDir: string): string | undefined {
  let info: NarInfo;
  try {
    // Read with the store that the narinfo itself names: a command may run without the configuration, and its NAR would seem unnamed.
    info = parseNarInfo(text, storeDirIn(text) ?? storeDir);
  } catch (error) {
    if (isCacheError(error, 'invalid')) return undefined;
    throw error;
  }
  const name: ObjectName = { kind: 'nar', name: narNameOf(info, origin), hash: undefined };
  return idOf(pathOf(name));
}
