// What was set aside, seen again by whoever repairs: whether another one has come in its place, and whether it was right itself.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isCacheError } from '../errors.ts';
import { fileOf, idOf, sizeOf } from '../store/files.ts';
import { decodeHeader } from '../store/header.ts';

/** Whether there is an object, or a file of the Go service. */
export async function isThere(folder: string, id: string): Promise<boolean> {
  const sizes = await Promise.all([false, true].map((flat) => sizeOf(fileOf(folder, { id, flat }))));
  return sizes.some((size) => size !== undefined);
}

/** Whether it is a pushed narinfo, whole, that was set aside for no other reason than that its NAR was not there. */
export async function isDangling(file: string, id: string, reason: string): Promise<boolean> {
  if (!/^its NAR .* is not here$/.test(reason)) return false;
  const bytes = await readFile(file).catch(() => Buffer.alloc(0));
  try {
    const { length, meta } = decodeHeader(bytes);
    const sha256 = createHash('sha256').update(bytes.subarray(length)).digest('hex');
    return (
      meta.kind === 'narinfo' && meta.origin === 'push' && idOf(meta.path) === id && sha256 === meta.sha256
    );
  } catch (error) {
    if (isCacheError(error, 'damaged')) return false;
    throw error;
  }
}
