// How commands tell the service beside which they run that the folder holds more, or less, than it has counted: by the time of an
// empty file. A note that can't be made is no reason to fail.
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { give } from './own.ts';

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

async function note(folder: string): Promise<void> {
  const file = join(folder, NOTE);
  await writeFile(file, '').then(
    () => give(folder, file),
    () => {},
  );
}

/** When a command last changed the folder, in milliseconds of the disk's clock; 0 if none ever did. */
export async function lastChange(folder: string): Promise<number> {
  return (await stat(join(folder, NOTE)).catch(() => undefined))?.mtimeMs ?? 0;
}
