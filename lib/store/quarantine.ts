// What turned out damaged is set aside, not deleted: it may tell somebody why. What can't be moved is deleted, because a
// damaged file must not stand in the way of a good one.
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe } from '../errors.ts';
import type { Log } from '../log.ts';
import { storageError, versionOf } from './files.ts';

/**
 * Moves `file`, the object of `path`, to `folder`, with the reason beside it; how large it was. If it has been replaced since
 * that version was found damaged, it stays, and the answer is undefined.
 * @throws CacheError `storage` if it can be neither moved nor deleted
 */
export async function quarantine(
  folder: string,
  path: string,
  file: string,
  version: string,
  reason: string,
  log: Log,
): Promise<number | undefined> {
  const now = await stat(file).catch(() => undefined);
  if (now === undefined || versionOf(now) !== version) return undefined;
  const target = join(folder, `${basename(file)}-${Date.now()}`);
  try {
    await mkdir(folder, { recursive: true });
    await rename(file, target);
    // For whoever finds it there; that the log says so too has to do if this can't be written.
    await writeFile(`${target}.reason`, `${path}\n${reason}\n`).catch(() => {});
    log.warn(`${path} is damaged (${reason}); moved to ${target}`);
  } catch (error) {
    log.error(
      `${path} is damaged (${reason}); deleting it, as it can't be moved to ${target}: ${describe(error)}`,
    );
    await rm(file, { force: true }).catch((again) => {
      throw storageError(`${path} is damaged (${reason}) and can't be deleted`, again);
    });
  }
  return now.size;
}
