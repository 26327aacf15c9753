// Makes the folder usable by the one service that writes to it.
import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CacheError, describe, isErrno } from '../errors.ts';
import { fileOf, isId } from './files.ts';
import type { Partials } from './partials.ts';
import { putBack, trashFolder } from './removal.ts';

/**
 * Removes what a crash left half-written, puts back what it left half-removed, and shows that the disk takes writes.
 * @throws CacheError `startup`
 */
export async function prepareFolder(folder: string, partials: Partials): Promise<void> {
  const tmp = join(folder, 'tmp');
  try {
    await mkdir(tmp, { recursive: true });
    await partials.rescue(tmp);
    for (const name of await readdir(tmp)) await rm(join(tmp, name), { recursive: true, force: true });
    await partials.prune();
    await emptyTrash(folder);
    const probe = join(tmp, 'probe');
    const handle = await open(probe, 'w');
    try {
      await handle.writeFile(Buffer.alloc(64 * 1024, 1));
      await handle.sync();
    } finally {
      await handle.close();
      await rm(probe, { force: true });
    }
  } catch (error) {
    const why = isErrno(error, 'ENOSPC', 'EDQUOT') ? 'the disk is full' : describe(error);
    throw new CacheError('startup', `can't use the cache folder ${folder}: ${why}`, error);
  }
}

/** Nobody knows any more if what is in it was used at the last moment. */
async function emptyTrash(folder: string): Promise<void> {
  const trash = trashFolder(folder);
  for (const id of await readdir(trash).catch(() => [])) {
    const file = join(trash, id);
    if (isId(id)) {
      await mkdir(join(folder, id.slice(0, 2)), { recursive: true });
      putBack(file, fileOf(folder, { id, flat: false }));
    }
    await rm(file, { recursive: true, force: true });
  }
}
