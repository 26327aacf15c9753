// `rm`: takes one path out at once, whoever pushed it.
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import type { Config } from '../config.ts';
import { CacheError } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { narsOf } from '../keep/nars-of.ts';
import type { Log } from '../log.ts';
import { pathOf } from '../nix/object-name.ts';
import { heeded } from '../store/changed-beside.ts';
import { readFacts } from '../store/facts.ts';
import { fileOf, idOf, syncFolder } from '../store/files.ts';
import { Pins } from '../store/pins.ts';
import { dropQuarantined, moveAside, quarantineFolder } from '../store/quarantine.ts';
import { removeNar, trashFolder } from '../store/removal.ts';
import { walkFolderSync } from '../store/walk.ts';
import { hashOperand, openStore } from './open-store.ts';

/**
 * Removes the path's narinfo and listing, then its NAR in every compression it was pushed in, also where it lies in quarantine,
 * unless another path has the same one. What it says is removed does not come back after a power loss, and no running service
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
  const { narNames, storePath: whole = storePath } = found;
  const pinned = (await new Pins(store.folder).list()).filter((one) => one.storePath === whole);
  for (const { name } of pinned) out.write(`it is pinned as ${name}: the pin stays\n`);
  // Until its NAR is gone it is kept where nobody is served it: who is interrupted and comes again finds there what to remove.
  await moveAside(store.folder, idOf(narInfoPath));
  await syncPlaces(store.folder, narInfoPath);
  const heard = heeded(store.folder);
  for (const kind of ['listing', 'packed-listing'] as const) {
    const listingPath = pathOf({ kind, hash });
    if (await store.delete(listingPath)) await syncPlaces(store.folder, listingPath);
  }
  out.write(`removed ${whole}\n`);
  const unreadable = new Set<string>();
  for (const name of narNames) {
    const narPath = pathOf({ kind: 'nar', name, hash: undefined });
    const nar = idOf(narPath);
    const others = () => narInfosWith(store.folder, nar, storeDir, unreadable);
    let count = others();
    // Looked at again when nobody can find it any more: a narinfo that names it may have come meanwhile.
    if (count === 0) await dropQuarantined(store.folder, nar);
    const bytes = count > 0 ? undefined : removeNar(store.folder, nar, () => others() > 0);
    await syncPlaces(store.folder, narPath);
    if (bytes !== undefined) {
      out.write(`removed its NAR, ${formatBytes(bytes)}\n`);
      continue;
    }
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

/** How many narinfos need the NAR with this id; what can't be read is counted as none. */
function narInfosWith(folder: string, nar: string, storeDir: string, unreadable: Set<string>): number {
  let count = 0;
  for (const file of walkFolderSync(folder)) {
    const facts = readFacts(file, storeDir, (why) => unreadable.add(why));
    if (facts?.kind === 'narinfo' && facts.ref === nar) count++;
  }
  return count;
}
