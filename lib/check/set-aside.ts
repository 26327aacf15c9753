// What was set aside, seen again by whoever repairs: whether another one has come in its place, and whether it was right itself.
import { readFile } from 'node:fs/promises';
import { sizeOf } from '../disk/files.ts';
import { fileOf } from '../store/folder/files.ts';
import { wholeObject } from '../store/folder/quarantine.ts';

/** Whether there is an object, or a file of the Go service. */
export async function isThere(folder: string, id: string): Promise<boolean> {
  const sizes = await Promise.all([false, true].map((flat) => sizeOf(fileOf(folder, { id, flat }))));
  return sizes.some((size) => size !== undefined);
}

/** Whether it is a pushed narinfo, whole, that was set aside for no other reason than that its NAR was not there. */
export async function isDangling(file: string, id: string, reason: string): Promise<boolean> {
  if (!/^its NAR .* is not here$/.test(reason)) return false;
  const bytes = await readFile(file).catch(() => Buffer.alloc(0));
  const meta = wholeObject(bytes, id);
  return meta?.kind === 'narinfo' && meta.origin === 'push';
}
