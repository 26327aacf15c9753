// What was moved out of its place for a moment goes back, unless another one has come there by now, which stays. link(2) fails
// where rename(2) would replace; a filesystem without hard links has only the latter, and so it is looked before.
import { linkSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { sizeOf } from '../../disk/files.ts';
import { link, rename, unlink } from '../../disk/writing.ts';
import { isErrno } from '../../errors.ts';

/** Whether there are no hard links here (FAT, exFAT, some network shares), or no more of them to this file. */
export function lacksLinks(error: unknown): boolean {
  return isErrno(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK');
}

/** Then `file` has its place again, or is gone. Throws what the disk says. */
export async function putBack(file: string, place: string): Promise<void> {
  try {
    await link(file, place).catch(async (error) => {
      if (lacksLinks(error)) return (await sizeOf(place)) ?? rename(file, place);
      if (!isErrno(error, 'EEXIST')) throw error;
    });
    await unlink(file);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** The same for a thread or a command that does nothing else. */
export function putBackSync(file: string, place: string): void {
  try {
    try {
      linkSync(file, place);
    } catch (error) {
      if (lacksLinks(error)) {
        if (statSync(place, { throwIfNoEntry: false }) === undefined) renameSync(file, place);
      } else if (!isErrno(error, 'EEXIST')) throw error;
    }
    unlinkSync(file);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}
