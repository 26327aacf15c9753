// How commands tell the service beside which they run that the folder holds more, or less, than it has counted: by the time of a
// file, whose text stays, since commands that make no notes of what names a NAR empty it (see notes.ts). What can't be told so is no reason
// to fail. And how they tell it that what it has in memory may be gone.
import { stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { tellService } from './hold.ts';
import { give } from './own.ts';
import { FORGOTTEN_MS } from './removal.ts';

const NOTE = 'changed';

/** Runs what changes much of the folder; noted before, too, for the case that it does not come to its end. */
export async function changing<T>(folder: string, run: () => Promise<T>): Promise<T> {
  await note(folder);
  try {
    return await run();
  } finally {
    await note(folder);
  }
}

/** Resolves when no service beside answers any more what has just been removed. */
export async function heeded(folder: string): Promise<void> {
  if (!(await tellService(folder))) await delay(FORGOTTEN_MS);
}

async function note(folder: string): Promise<void> {
  const file = join(folder, NOTE);
  const now = (performance.timeOrigin + performance.now()) / 1000;
  await utimes(file, now, now).catch(() =>
    writeFile(file, '').then(
      () => give(folder, file),
      () => {},
    ),
  );
}

/** When a command last changed the folder, in milliseconds of the disk's clock; 0 if none ever did. */
export async function lastChange(folder: string): Promise<number> {
  return (await stat(join(folder, NOTE)).catch(() => undefined))?.mtimeMs ?? 0;
}
