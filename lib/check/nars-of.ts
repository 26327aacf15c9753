// Which NARs a path has here, by what its narinfo says, or what is left of that: for whoever removes all of it.
import { isCacheError } from '../errors.ts';
import { narNameOf, otherNamesOf } from '../nix/nar-names.ts';
import { parseNarInfo, storeDirIn } from '../nix/narinfo.ts';
import { isNarName, type NarName } from '../nix/object-name.ts';
import { idOf } from '../store/object-id.ts';
import type { ObjectMeta, Store } from '../store/store.ts';
import type { Upkeep } from '../store/upkeep.ts';

/** Of a pushed NAR, wherever it stands. */
const PUSHED_NAME = /\b[0-9a-z]{52}\.nar(?:\.[0-9a-z]+)?/g;

/** What is to be removed with a narinfo. */
interface Found {
  /** Undefined where the narinfo does not tell. */
  readonly storePath: string | undefined;
  readonly narNames: ReadonlySet<NarName>;
  /** Under which others may know them, and copies that were fetched by these names lie. */
  readonly otherNames: ReadonlySet<NarName>;
}

/** The NARs of the path whose narinfo this is, also of one that is aside; undefined if nothing is known of it. */
export async function narsOf(
  { store, upkeep }: { readonly store: Store; readonly upkeep: Upkeep },
  path: string,
  storeDir: string,
): Promise<Found | undefined> {
  return (await lookUp(store, path, storeDir)) ?? lookAside(upkeep, path, storeDir);
}

async function lookUp(store: Store, path: string, storeDir: string): Promise<Found | undefined> {
  const object = await store.open(path);
  if (object === undefined) return undefined;
  try {
    return foundIn((await object.bytes()).toString(), object.meta, storeDir);
  } catch (error) {
    if (isCacheError(error, 'damaged')) return undefined;
    throw error;
  }
}

/** A narinfo that is damaged, or whose removal was interrupted, is in quarantine by now, and its NAR is not. */
async function lookAside(upkeep: Upkeep, path: string, storeDir: string): Promise<Found | undefined> {
  const remains = await upkeep.remains(idOf(path));
  const all = remains.map(({ body, meta }) =>
    foundIn(body.toString(), meta ?? { origin: 'unknown' }, storeDir),
  );
  // The name derived from the narinfo may be wrong by now.
  const written = remains.flatMap(({ body, meta }) => [
    ...narNamesIn(body.toString('latin1')),
    ...(meta?.otherNars ?? []).filter(isNarName),
  ]);
  const narNames = new Set([...all.flatMap((one) => [...one.narNames]), ...written]);
  const storePath = all.find((one) => one.storePath !== undefined)?.storePath;
  const otherNames = new Set(all.flatMap((one) => [...one.otherNames]));
  return narNames.size === 0 ? undefined : { storePath, narNames, otherNames };
}

/** The NARs that a text names which need not be a narinfo. */
function narNamesIn(text: string): NarName[] {
  const names: string[] = text.match(PUSHED_NAME) ?? [];
  return names.filter(isNarName);
}

/** What a narinfo names, and what a text names that is none, or not any more. */
function foundIn(
  text: string,
  { origin, otherNars = [] }: Pick<ObjectMeta, 'origin' | 'otherNars'>,
  storeDir: string,
): Found {
  const others = otherNars.filter(isNarName);
  try {
    // The narinfo says itself which store it is of, whatever the configuration says now.
    const info = parseNarInfo(text, storeDirIn(text) ?? storeDir);
    const narNames = new Set([narNameOf(info, origin), ...others]);
    return { storePath: info.storePath, narNames, otherNames: new Set(otherNamesOf(info)) };
  } catch (error) {
    if (!isCacheError(error, 'invalid')) throw error;
    const narNames = new Set([...narNamesIn(text), ...others]);
    return { storePath: undefined, narNames, otherNames: new Set() };
  }
}
