// `rm`: takes one path out at once, whoever pushed it.
import { rm as removeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { narsOf } from '../check/nars-of.ts';
import type { Config } from '../config/config.ts';
import { syncFolder } from '../disk/files.ts';
import { CacheError } from '../errors.ts';
import { formatBytes } from '../format.ts';
import type { Log } from '../log.ts';
import { type NarName, pathOf } from '../nix/object-name.ts';
import { heeded } from '../store/folder/changed-beside.ts';
import { readFacts } from '../store/folder/facts.ts';
import { fileOf } from '../store/folder/files.ts';
import { Pins } from '../store/folder/pins.ts';
import { dropQuarantined, moveAside, quarantineFolder } from '../store/folder/quarantine.ts';
import { removeNar, trashFolder } from '../store/folder/removal.ts';
import { walkFolderSync } from '../store/folder/walk.ts';
import { idOf } from '../store/object-id.ts';
import { hashOperand, openStore } from './open-store.ts';

/**
 * Removes the path's narinfo and listing, then its NAR in every compression it was pushed in, also where it lies in quarantine,
 * unless another path has the same one, and with it what leads to debug information in it. What it says is removed does not come back after a power loss, and no running service
 * answers it any more.
 * @throws CacheError `config`, `startup` or `storage`
 */
export async function rm(config: Config, storePath: string, out: Writable, log: Log): Promise<void> {
  const store = await openStore(config, log);
  const { storeDir } = config;
  const hash = hashOperand(storePath, config);
  const narInfoPath = pathOf({ kind: 'narinfo', hash });
  const found = await narsOf(store, narInfoPath, storeDir);
  if (found === undefined) throw new CacheError('config', `${storePath} is not in the cache`);
  const { narNames, otherNames, storePath: whole = storePath } = found;
  const pinned = (await new Pins(store.folder).list()).filter((one) => one.storePath === whole);
  for (const { name } of pinned) out.write(`it is pinned as ${name}: the pin stays\n`);
  // Until its NAR is gone the narinfo is kept where it is not served: after an interruption, `rm` finds there what to remove.
  await moveAside(store.folder, idOf(narInfoPath));
  await syncPlaces(store.folder, narInfoPath);
  const heard = heeded(store.folder);
  for (const kind of ['listing', 'packed-listing'] as const) {
    const listingPath = pathOf({ kind, hash });
    if (await store.delete(listingPath)) await syncPlaces(store.folder, listingPath);
  }
  out.write(`removed ${whole}\n`);
  const unreadable = new Set<string>();
  const pathOfNar = (name: NarName) => pathOf({ kind: 'nar', name, hash: undefined });
  const names = [...new Set([...narNames, ...otherNames])];
  const needs = (...of: NarName[]) =>
    survey(store.folder, storeDir, new Set(of.map((name) => idOf(pathOfNar(name)))), unreadable);
  // This looks at all objects and takes time, so it is done once for all names.
  const known = needs(...names);
  for (const name of names) {
    const narPath = pathOfNar(name);
    const nar = idOf(narPath);
    const others = () => needs(name).narInfos.get(nar) ?? 0;
    let count = known.narInfos.get(nar) ?? 0;
    // Looked at again once the NAR can't be found any more: a narinfo that names it may have come meanwhile.
    if (count === 0) await dropQuarantined(store.folder, nar);
    const isThere = narNames.has(name) || (await store.version(narPath)) !== undefined;
    const bytes = count > 0 || !isThere ? undefined : removeNar(store.folder, nar, () => others() > 0);
    if (count === 0) for (const index of known.indexes.get(nar) ?? []) await removeIndex(index);
    await syncPlaces(store.folder, narPath);
    if (bytes !== undefined) {
      out.write(`removed its NAR, ${formatBytes(bytes)}\n`);
      continue;
    }
    if (!narNames.has(name)) continue;
    if (count === 0) count = others();
    if (count > 0) out.write(`its NAR stays: ${count} other paths have the same contents\n`);
  }
  await dropQuarantined(store.folder, idOf(narInfoPath));
  await syncPlaces(store.folder, narInfoPath);
  await heard;
  for (const why of unreadable) log.warn(`can't be read, taken for nothing that needs the NAR: ${why}`);
}

/** All folders in which the object may have been. */
async function syncPlaces(folder: string, path: string): Promise<void> {
  const shelf = dirname(fileOf(folder, { id: idOf(path), flat: false }));
  for (const one of [shelf, folder, trashFolder(folder), quarantineFolder(folder)]) await syncFolder(one);
}

async function removeIndex(file: string): Promise<void> {
  await removeFile(file, { force: true });
  await syncFolder(dirname(file));
}

interface Survey {
  /** By id of a NAR: how many narinfos need it. */
  readonly narInfos: Map<string, number>;
  /** By id of a NAR: the files that lead to debug information in it. */
  readonly indexes: Map<string, string[]>;
}

/** What names these NARs; what can't be read is taken for nothing that does. */
function survey(
  folder: string,
  storeDir: string,
  nars: ReadonlySet<string>,
  unreadable: Set<string>,
): Survey {
  const [narInfos, indexes] = [new Map<string, number>(), new Map<string, string[]>()];
  for (const source of walkFolderSync(folder)) {
    const facts = readFacts(source, storeDir, (why) => unreadable.add(why));
    const { archive, kind, ref } = facts ?? {};
    if (kind === 'narinfo' && ref !== undefined && nars.has(ref))
      narInfos.set(ref, (narInfos.get(ref) ?? 0) + 1);
    if (archive !== undefined && nars.has(archive))
      indexes.set(archive, [...(indexes.get(archive) ?? []), source.file]);
  }
  return { narInfos, indexes };
}
