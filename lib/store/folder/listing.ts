// All objects of the folder, as they describe themselves.
import { type FileHandle, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openForReading } from '../../disk/files.ts';
import { describe } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { ListedObject } from '../store.ts';
import type { FlatFiles } from './flat-files.ts';
import { readHeader } from './header.ts';

export async function* listFolder(folder: string, flat: FlatFiles, log: Log): AsyncGenerator<ListedObject> {
  const folders = (await readdir(folder)).filter((name) => /^[0-9a-f]{2}$/.test(name)).sort();
  for (const one of folders) {
    const names = await readdir(join(folder, one)).catch((error) => {
      log.warn(`${join(folder, one)} can't be listed: ${describe(error)}`);
      return [];
    });
    for (const name of names.sort()) {
      const listed = await describeFile(join(folder, one, name), log);
      if (listed !== undefined) yield listed;
    }
  }
  yield* flat.list();
}

/** What one file says of itself; undefined if it vanished, for a running service may delete, is not ours, or can't be read. */
async function describeFile(file: string, log: Log): Promise<ListedObject | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await openForReading(file);
    if (handle === undefined) return undefined;
    const { meta } = await readHeader(handle);
    return { ...meta, lastUse: (await handle.stat()).mtime };
  } catch (error) {
    log.warn(`${file} is not a cache object: ${describe(error)}`);
    return undefined;
  } finally {
    await handle?.close();
  }
}
