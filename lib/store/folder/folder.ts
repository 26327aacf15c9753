// The cache folder, put together: one folder on one disk is the store, its scratch space and its upkeep.
import { mkdir, readdir, realpath } from 'node:fs/promises';
import { CacheError, describe } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import type { CacheStorage, PushNetrc } from '../storage.ts';
import { Commits } from './commits.ts';
import { Damaged } from './damaged.ts';
import { FlatFiles } from './flat-files.ts';
import { FolderStore } from './folder-store.ts';
import { Hold } from './hold.ts';
import { HotReads } from './hot-reads.ts';
import { IfAny } from './if-any.ts';
import { KeptFiles } from './kept-files.ts';
import { FRESH_MS } from './last-use.ts';
import { MANY_OBJECTS } from './learning.ts';
import { Overlay } from './overlay.ts';
import { makePushNetrc, pushNetrcIn, readPushNetrc } from './push-netrc.ts';
import { FolderScratch } from './scratch.ts';
import { Tally } from './tally.ts';
import { FolderUpkeep } from './upkeep.ts';

export interface FolderOptions {
  /** `relaxed` leaves it to the kernel when what is stored is on the disk. */
  readonly durability?: 'full' | 'relaxed';
  /** Has what is read not count as used; a collection must be able to take it meanwhile. */
  readonly quiet?: boolean;
  /** Of how many objects on it is noted what names a NAR. */
  readonly many?: number;
}

export interface Folder extends CacheStorage {
  readonly scratch: FolderScratch;
}

/** Nothing is read of it, and nothing written. */
export function openFolder(
  folder: string,
  emit: Emit,
  { durability = 'full', many = MANY_OBJECTS, quiet = false }: FolderOptions = {},
): Folder {
  const tally = new Tally();
  const scratch = new FolderScratch(folder, tally, emit);
  const kept = new KeptFiles();
  const hot = new HotReads();
  const damaged = new Damaged(folder, tally, emit, (file) => kept.dropFile(file));
  const commits = new Commits(folder);
  const files = { folder, damaged, tally, quiet };
  // What the Go service left in the folder lies under what is ours.
  const store = new Overlay(
    new FolderStore({ ...files, kept, hot, scratch, durability, emit, commits }),
    new IfAny(new FlatFiles(files), { folder, freshForMs: FRESH_MS }),
  );
  return {
    label: folder,
    store,
    scratch,
    upkeep: new FolderUpkeep(folder, damaged, tally, { kept, many }),
    pushNetrc: pushNetrcOf(folder),
    take: async (onForget) => {
      const forget = () => {
        kept.recheck();
        onForget();
      };
      const hold = await Hold.take(folder, { emit, onForget: forget });
      try {
        await scratch.prepare(hold.isSole);
        await hold.settle();
        await hot.begin(folder);
        kept.begin();
        commits.open();
        return {
          release: async () => {
            kept.end();
            await commits.close();
            await hold.release();
          },
        };
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
