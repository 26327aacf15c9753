// The files of the folder one after another, for whoever takes hours or weeks over them: at any moment only one of its folders
// is in memory, and it can go on from where it was.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../errors.ts';
import type { FolderFile } from './facts.ts';
import { storageError } from './files.ts';

/** Where somebody is: at this file, which has been dealt with. */
export type Place = Pick<FolderFile, 'id' | 'flat'>;

/**
 * All files that are named like objects, in the order of their names, those of the Go service last; those behind `after`.
 * @throws CacheError `storage` if the folder can't be read, or is not there any more
 */
export async function* walkFolder(folder: string, after?: Place): AsyncGenerator<FolderFile> {
  for (let byte = 0; byte < 256 && after?.flat !== true; byte++) {
    const shard = byte.toString(16).padStart(2, '0');
    if (after !== undefined && shard < after.id.slice(0, 2)) continue;
    for (const id of await idsIn(join(folder, shard), true)) {
      if (after === undefined || id > after.id) yield { id, file: join(folder, shard, id), flat: false };
    }
  }
  for (const id of await idsIn(folder, false)) {
    if (after?.flat !== true || id > after.id) yield { id, file: join(folder, id), flat: true };
  }
}

async function idsIn(folder: string, mayLack: boolean): Promise<string[]> {
  const names = await readdir(folder).catch((error) => {
    if (mayLack && isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw storageError(`can't read ${folder}`, error);
  });
  return names.filter((name) => /^[0-9a-f]{64}$/.test(name)).sort();
}
