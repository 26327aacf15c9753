// `rm`: takes one path out at once, whoever pushed it.
import type { Writable } from 'node:stream';
import { narsOf } from '../check/nars-of.ts';
import type { Config } from '../config/config.ts';
import { openStorage } from '../engine.ts';
import { CacheError } from '../errors.ts';
import { logSink } from '../event-log.ts';
import { formatBytes } from '../format.ts';
import type { Log } from '../log.ts';
import { type NarName, pathOf } from '../nix/object-name.ts';
import { idOf } from '../store/object-id.ts';
import type { Place, Upkeep } from '../store/upkeep.ts';
import { hashOperand } from './operands.ts';

const LOOKING_AT_ALL =
  'looking at all objects, which takes long where there are so many: it is not noted yet which of them need the NAR';

/**
 * Removes the path's narinfo and listing, then its NAR in every compression it was pushed in, also where it lies aside,
 * unless another path has the same one, and with it what leads to debug information in it. What it says is removed does not come back after a power loss, and no running service
 * answers it any more.
 * @throws CacheError `config`, `startup` or `storage`
 */
export async function rm(config: Config, storePath: string, out: Writable, log: Log): Promise<void> {
  const storage = await openStorage(config, logSink(log));
  const { store, upkeep } = storage;
  const { storeDir } = config;
  const hash = hashOperand(storePath, config);
  const narInfoPath = pathOf({ kind: 'narinfo', hash });
  const found = await narsOf(storage, narInfoPath, storeDir);
  if (found === undefined) throw new CacheError('config', `${storePath} is not in the cache`);
  const { narNames, otherNames, storePath: whole = storePath } = found;
  const pinned = (await upkeep.pins()).filter((one) => one.storePath === whole);
  for (const { name } of pinned) out.write(`it is pinned as ${name}: the pin stays\n`);
  // Until its NAR is gone the narinfo is kept where it is not served: after an interruption, `rm` finds there what to remove.
  await upkeep.withdraw(idOf(narInfoPath));
  const heard = upkeep.heeded();
  for (const kind of ['listing', 'packed-listing'] as const) {
    const listingPath = pathOf({ kind, hash });
    if (await store.delete(listingPath)) await store.sync(listingPath);
  }
  out.write(`removed ${whole}\n`);
  const unreadable = new Set<string>();
  let isSaid = false;
  const lookingAtAll = () => {
    if (!isSaid) log.info(LOOKING_AT_ALL);
    isSaid = true;
  };
  const pathOfNar = (name: NarName) => pathOf({ kind: 'nar', name, hash: undefined });
  const names = [...new Set([...narNames, ...otherNames])];
  const needs = (...of: NarName[]) =>
    survey(upkeep, storeDir, new Set(of.map((name) => idOf(pathOfNar(name)))), { lookingAtAll, unreadable });
  // This may have to look at all objects, so it is done once for all names.
  const known = await needs(...names);
  for (const name of names) {
    const narPath = pathOfNar(name);
    const nar = idOf(narPath);
    const others = async () => (await needs(name)).narInfos.get(nar) ?? 0;
    let count = known.narInfos.get(nar) ?? 0;
    // Looked at again once the NAR can't be found any more: a narinfo that names it may have come meanwhile.
    if (count === 0) await upkeep.dropAside(nar);
    const isThere = narNames.has(name) || (await store.version(narPath)) !== undefined;
    const isNeeded = async () => (await others()) > 0;
    const bytes = count > 0 || !isThere ? undefined : await upkeep.removeNar(nar, isNeeded);
    if (count === 0) for (const index of known.indexes.get(nar) ?? []) await upkeep.remove(index);
    if (bytes !== undefined) {
      out.write(`removed its NAR, ${formatBytes(bytes)}\n`);
      continue;
    }
    if (!narNames.has(name)) continue;
    if (count === 0) count = await others();
    if (count > 0) out.write(`its NAR stays: ${count} other paths have the same contents\n`);
  }
  await upkeep.forget(idOf(narInfoPath));
  await heard;
  for (const why of unreadable) log.warn(`can't be read, taken for nothing that needs the NAR: ${why}`);
}

interface Survey {
  /** By id of a NAR: how many narinfos need it. */
  readonly narInfos: Map<string, number>;
  /** By id of a NAR: where the indexes of debug information in it are. */
  readonly indexes: Map<string, Place[]>;
}

/** What names these NARs; what can't be read is taken for nothing that does. */
async function survey(
  upkeep: Upkeep,
  storeDir: string,
  nars: ReadonlySet<string>,
  { lookingAtAll, unreadable }: { readonly lookingAtAll: () => void; readonly unreadable: Set<string> },
): Promise<Survey> {
  const [narInfos, indexes] = [new Map<string, number>(), new Map<string, Place[]>()];
  const told = { storeDir, lookingAtAll, unreadable: (why: string) => void unreadable.add(why) };
  for await (const { kind, nar, place } of upkeep.namers(nars, told)) {
    if (kind === 'narinfo') narInfos.set(nar, (narInfos.get(nar) ?? 0) + 1);
    else indexes.set(nar, [...(indexes.get(nar) ?? []), place]);
  }
  return { narInfos, indexes };
}
