// Whose the files are: root may run a command beside a service of another user, or start that service itself, and what it writes
// is to be the service's all the same. So it gets the owner of the cache folder. Where the disk knows no owners, or lets nobody
// give a file away, it stays as it is.

import { lchownSync, mkdirSync, statSync } from 'node:fs';
import { type FileHandle, lchown, stat } from 'node:fs/promises';
import { makeFolder, writing } from '../../disk/writing.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whether we may give files away, and are not ourselves the one to whom everything belongs. */
function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** How long it is believed whose a folder is: every file that is written is given away. */
const BELIEVED_MS = 1000;
const known = new Map<string, { readonly owner: Owner | undefined; readonly until: number }>();

/** Who owns the cache folder; undefined if what we write is as it should be anyway. */
export async function ownerOf(cacheDir: string): Promise<Owner | undefined> {
  if (!isRoot()) return undefined;
  const before = known.get(cacheDir);
  if (before !== undefined && performance.now() < before.until) return before.owner;
  const owner = otherThanRoot(await stat(cacheDir).catch(() => undefined));
  // One process has few of them.
  known.clear();
  known.set(cacheDir, { owner, until: performance.now() + BELIEVED_MS });
  return owner;
}

function otherThanRoot(owner: Owner | undefined): Owner | undefined {
  return owner === undefined || (owner.uid === 0 && owner.gid === 0) ? undefined : owner;
}

/** Gives a file, which may be open, to the owner of the cache folder. Never rejects. */
export async function give(cacheDir: string, file: string | FileHandle): Promise<void> {
  const owner = await ownerOf(cacheDir);
  if (owner === undefined) return;
  const { uid, gid } = owner;
  await writing(() => (typeof file === 'string' ? lchown(file, uid, gid) : file.chown(uid, gid))).catch(
    () => {},
  );
}

/** Makes a folder in the cache folder, or that itself, which is whose who made it, with those above it. */
export async function makeFolderIn(cacheDir: string, folder: string): Promise<void> {
  const first = await makeFolder(folder);
  if (first !== undefined && folder !== cacheDir) await give(cacheDir, folder);
}

/** The same for a thread or a command that does nothing else. */
export function makeFolderInSync(cacheDir: string, folder: string): void {
  const isNew = mkdirSync(folder, { recursive: true }) !== undefined;
  const owner = isNew && isRoot() ? otherThanRoot(statSync(cacheDir)) : undefined;
  if (owner === undefined) return;
  try {
    lchownSync(folder, owner.uid, owner.gid);
  } catch {
    // Where the disk knows no owners, or refuses, the folder stays as it is.
  }
}
