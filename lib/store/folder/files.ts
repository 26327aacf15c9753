// How the folder's files are named and told apart.
import type { Stats } from 'node:fs';
import { join } from 'node:path';

/** Where the object's file lies; a `flat` one was left by the Go service, which had no folders. */
export function fileOf(
  folder: string,
  { id, flat }: { readonly id: string; readonly flat: boolean },
): string {
  return flat ? join(folder, id) : join(folder, id.slice(0, 2), id);
}

/** A replaced object has another inode: the new file exists before the old one goes. */
export function versionOf(stats: Stats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}`;
}
