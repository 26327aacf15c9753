// Whatever changes the disk, a few at a time. libuv has a few threads for all files and for looking up names: on a disk that hangs,
// or crawls, as many writes would hold them all, and no hit could be read any more.
import * as fs from 'node:fs/promises';

/** All of libuv's threads but one. */
const AT_ONCE = Math.max(1, (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 1);

const waiting: (() => void)[] = [];
let free = AT_ONCE;

/** Runs `write`, which is one call of the disk, at once or when it is its turn. */
export async function writing<T>(write: () => Promise<T>): Promise<T> {
  if (free > 0) free--;
  else await new Promise<void>((turn) => waiting.push(turn));
  try {
    return await write();
  } finally {
    const next = waiting.shift();
    if (next === undefined) free++;
    else next();
  }
}

/** As those of node:fs. */
export const link = (file: string, name: string) => writing(() => fs.link(file, name));
export const rename = (from: string, to: string) => writing(() => fs.rename(from, to));
export const unlink = (file: string) => writing(() => fs.unlink(file));
/** Whatever it is, if it is there. */
export const remove = (file: string) => writing(() => fs.rm(file, { recursive: true, force: true }));
/** With those above it; the first of them that was not there, if there is one. */
export const makeFolder = (folder: string) =>
  writing(async () =>
    // `recursive` hides the reason: on a read-only disk it reports ENOENT.
    fs.mkdir(folder, { recursive: true }).catch(async () => {
      await fs.mkdir(folder);
      return folder;
    }),
  );
/** For writing; `flags` say how. */
export const openToWrite = (file: string, flags: string) => writing(() => fs.open(file, flags, 0o644));
