// An object's last use is its file's time. Nobody waits until a use is noted there, and a read-only disk is no reason to fail.
import { utimes } from 'node:fs/promises';
import { writing } from '../../disk/writing.ts';
import { TOUCH_INTERVAL_MS } from '../store.ts';

/**
 * How long what was seen on the disk may be believed, by whoever remembers it: a collection goes on to a NAR only when that is over
 * for its narinfo.
 */
export const FRESH_MS = 1000;
/** Files whose use is still to be noted: a disk that hangs does without. */
const MOST_WAITING = 500;

const waiting = new Set<string>();

/** Whether a use now is to be noted in a file with that time. A time of the future is of a clock that was set back. */
export function isStale(mtimeMs: number): boolean {
  return Math.abs(Date.now() - mtimeMs) >= TOUCH_INTERVAL_MS;
}

interface OpenToNote {
  utimes(atime: number, mtime: number): Promise<void>;
}

/**
 * Notes a use of `file`; resolves when that is done, or could not be, to the file's new time. By a handle, which stays open until then,
 * it is noted even if the file is being moved, which whoever moves it will see.
 */
export async function noteUse(file: string, handle?: OpenToNote): Promise<number | undefined> {
  if (waiting.has(file) || waiting.size >= MOST_WAITING) return undefined;
  waiting.add(file);
  try {
    return await writing(async () => {
      const nowMs = Date.now();
      const now = nowMs / 1000;
      await (handle === undefined ? utimes(file, now, now) : handle.utimes(now, now));
      return nowMs;
    });
  } catch {
    // Losing one last-use update is harmless.
    return undefined;
  } finally {
    waiting.delete(file);
  }
}
