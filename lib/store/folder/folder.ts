// The cache folder, put together: one folder on one disk is the store, its scratch space and its upkeep.
import { mkdir, readdir, realpath } from 'node:fs/promises';
import { CacheError, describe } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { CacheStorage, PushNetrc } from '../storage.ts';
import { type FolderOptions, FolderStore } from './folder-store.ts';
import { Hold } from './hold.ts';
import { makePushNetrc, pushNetrcIn, readPushNetrc } from './push-netrc.ts';
import { FolderScratch } from './scratch.ts';
import { Tally } from './tally.ts';
import { FolderUpkeep } from './upkeep.ts';

export interface Folder extends CacheStorage {
  readonly scratch: FolderScratch;
}

/** Nothing is read of it, and nothing written. */
export function openFolder(folder: string, log: Log, options: FolderOptions = {}): Folder {
  const tally = new Tally();
  const scratch = new FolderScratch(folder, tally, log);
  const store = new FolderStore(folder, { ...options, scratch, tally, log });
  return {
    label: folder,
    ...{ store, scratch, upkeep: new FolderUpkeep(folder, store, tally), pushNetrc: pushNetrcOf(folder) },
    take: async (onForget) => {
      const hold = await Hold.take(folder, { log, onForget });
      try {
        await scratch.prepare(hold.isSole);
        await hold.settle();
        return hold;
      } catch (error) {
        await hold.release();
        throw error;
      }
    },
    check: async () => {
      await readdir(folder).catch((error) => {
        throw new CacheError('startup', `can't read the cache folder ${folder}: ${describe(error)}`, error);
      });
    },
    create: async () => {
      await mkdir(folder, { recursive: true }).catch((error) => {
        throw new CacheError('startup', `can't use the cache folder ${folder}: ${describe(error)}`, error);
      });
    },
    isIn: async (other) => {
      const [one, two] = await Promise.all([folder, other].map((path) => realpath(path).catch(() => path)));
      return one === two;
    },
  };
}

function pushNetrcOf(folder: string): PushNetrc {
  return {
    file: pushNetrcIn(folder),
    read: () => readPushNetrc(folder),
    make: (host) => makePushNetrc(folder, host),
  };
}
