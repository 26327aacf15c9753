// `rm`: takes one path out at once, whoever pushed it.
import type { Writable } from 'node:stream';
import type { Config } from '../config.ts';
import { CacheError } from '../errors.ts';
import { formatBytes } from '../format.ts';
import type { Log } from '../log.ts';
import { narNameOf, parseNarInfo } from '../nix/narinfo.ts';
import { isNarName, pathOf } from '../nix/object-name.ts';
import { readFacts } from '../store/facts.ts';
import { idOf } from '../store/files.ts';
import { Pins } from '../store/pins.ts';
import { dropQuarantined } from '../store/quarantine.ts';
import { removeNar } from '../store/removal.ts';
import { walkFolderSync } from '../store/walk.ts';
import { hashOperand, openStore } from './open-store.ts';

/**
 * Removes the path's narinfo and listing, then its NAR in every compression it was pushed in, also where it lies in quarantine,
 * unless another path has the same one. A running service notices within a second.
 * @throws CacheError `config`, `startup` or `storage`
 */
export async function rm(config: Config, storePath: string, out: Writable, log: Log): Promise<void> {
  const store = await openStore(config, log);
  const { storeDir } = config;
  const hash = hashOperand(storePath, config);
  const narInfoPath = pathOf({ kind: 'narinfo', hash });
  const object = await store.open(narInfoPath);
  if (object === undefined) throw new CacheError('config', `${storePath} is not in the cache`);
  const info = parseNarInfo((await object.bytes()).toString(), storeDir);
  const { origin, otherNars = [] } = object.meta;
  const narNames = [narNameOf(info, origin), ...otherNars.filter(isNarName)];
  const pinned = (await new Pins(store.folder).list()).filter((one) => one.storePath === info.storePath);
  for (const { name } of pinned) out.write(`it is pinned as ${name}: the pin stays\n`);
  await store.delete(narInfoPath);
  await store.delete(pathOf({ kind: 'listing', hash }));
  out.write(`removed ${info.storePath}\n`);
  for (const name of narNames) {
    const nar = idOf(pathOf({ kind: 'nar', name, hash: undefined }));
    const others = () => narInfosWith(store.folder, nar, storeDir);
    let count = others();
    // Looked at again when nobody can find it any more: a narinfo that names it may have come meanwhile.
    if (count === 0) await dropQuarantined(store.folder, nar);
    const bytes = count > 0 ? undefined : removeNar(store.folder, nar, () => others() > 0);
    if (bytes !== undefined) {
      out.write(`removed its NAR, ${formatBytes(bytes)}\n`);
      continue;
    }
    if (count === 0) count = others();
    if (count > 0) out.write(`its NAR stays: ${count} other paths have the same contents\n`);
  }
}

/** How many narinfos need the NAR with this id. */
function narInfosWith(folder: string, nar: string, storeDir: string): number {
  let count = 0;
  for (const file of walkFolderSync(folder)) {
    const facts = readFacts(file, storeDir);
    if (facts?.kind === 'narinfo' && facts.ref === nar) count++;
  }
  return count;
}
