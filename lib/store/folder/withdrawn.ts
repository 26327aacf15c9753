// What somebody is removing, and more with it: moved to `removing/`, right as it is, so that nobody is served it, and that who is
// killed meanwhile, or loses power, finds there what was to go with it when the removal is begun again.
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { storageError, syncFolder } from '../../disk/files.ts';
import { rename } from '../../disk/writing.ts';
import { isErrno } from '../../errors.ts';
import type { Remains } from '../upkeep.ts';
import { fileAt, placesOf } from './files.ts';
import { makeFolderIn } from './own.ts';
import { remainsIn } from './quarantine.ts';

function folderIn(folder: string): string {
  return join(folder, 'removing');
}

/** @throws CacheError `storage` */
export async function withdraw(folder: string, id: string): Promise<void> {
  const removing = folderIn(folder);
  try {
    await makeFolderIn(folder, removing);
    for (const place of placesOf(id)) {
      await rename(fileAt(folder, place), join(removing, `${id}-${Date.now()}`)).catch((error) => {
        if (!isErrno(error, 'ENOENT')) throw error;
      });
    }
  } catch (error) {
    throw storageError(`can't move ${id} to ${removing}`, error);
  }
  await syncFolder(removing);
}

export async function readWithdrawn(folder: string, id: string): Promise<Remains[]> {
  return Promise.all((await filesOf(folder, id)).map(remainsIn));
}

export async function forgetWithdrawn(folder: string, id: string): Promise<void> {
  const files = await filesOf(folder, id);
  for (const file of files) await rm(file, { force: true });
  if (files.length > 0) await syncFolder(folderIn(folder));
}

async function filesOf(folder: string, id: string): Promise<string[]> {
  const names = await readdir(folderIn(folder)).catch(() => []);
  return names.filter((name) => name.startsWith(`${id}-`)).map((name) => join(folderIn(folder), name));
}
