// The closure of store paths, as far as the narinfos in the store tell: what they refer to, and what that refers to.
import { isCacheError } from '../errors.ts';
import { type NarInfo, parseNarInfo } from '../nix/narinfo.ts';
import { pathOf } from '../nix/object-name.ts';
import { hashPartOf, type StoreHash } from '../nix/store-path.ts';
import type { Store } from '../store/store.ts';

interface Closure {
  /** In the order they were found, those that were asked for first. */
  readonly infos: ReadonlyMap<StoreHash, NarInfo>;
  /** Referred to, or asked for, and not here. */
  readonly missing: readonly StoreHash[];
}

/** @throws CacheError `storage` */
export async function closureOf(
  store: Store,
  storeDir: string,
  roots: readonly StoreHash[],
): Promise<Closure> {
  const infos = new Map<StoreHash, NarInfo>();
  const missing: StoreHash[] = [];
  const seen = new Set(roots);
  // The set grows while it is walked.
  for (const hash of seen) {
    const info = await readInfo(store, storeDir, hash);
    if (info === undefined) {
      missing.push(hash);
      continue;
    }
    infos.set(hash, info);
    for (const reference of info.references) seen.add(hashPartOf(reference));
  }
  return { infos, missing };
}

async function readInfo(store: Store, storeDir: string, hash: StoreHash): Promise<NarInfo | undefined> {
  const object = await store.open(pathOf({ kind: 'narinfo', hash }));
  if (object === undefined) return undefined;
  try {
    return parseNarInfo((await object.bytes()).toString(), storeDir);
  } catch (error) {
    if (isCacheError(error, 'invalid') || isCacheError(error, 'damaged')) return undefined;
    throw error;
  }
}
