// Pins: files in `pins/`, named by the pin, each with the store path that it keeps. Whoever collects reads them each time, so
// that a pin set by a command holds for a running service too.
import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile, storageError, syncFolder } from '../../disk/files.ts';
import { CacheError, isErrno } from '../../errors.ts';
import type { Pin } from '../upkeep.ts';
import { give, makeFolderIn } from './own.ts';

/** As long as the longest name of a store path. */
const NAME = /^\w[\w.+?=-]{0,243}$/;

export class Pins {
  readonly #cacheDir: string;
  readonly #folder: string;

  constructor(cacheDir: string) {
    this.#cacheDir = cacheDir;
    this.#folder = join(cacheDir, 'pins');
  }

  /** @throws CacheError `storage` if one can't be read: then nothing may be collected */
  async list(): Promise<Pin[]> {
    const names = await readdir(this.#folder).catch((error) => {
      if (isErrno(error, 'ENOENT')) return [];
      throw storageError(`can't read ${this.#folder}`, error);
    });
    const pins = names
      .filter((name) => NAME.test(name))
      .sort()
      .map(async (name) => {
        const text = await readPin(join(this.#folder, name));
        return text === undefined ? [] : [{ name, storePath: text.trim() }];
      });
    return (await Promise.all(pins)).flat();
  }

  /**
   * Sets a pin, in the place of another one of that name.
   * @throws CacheError `config` for a name that makes no file, `storage`
   */
  async set({ name, storePath }: Pin): Promise<void> {
    if (!NAME.test(name)) {
      throw new CacheError(
        'config',
        `found the name ${JSON.stringify(name)}, expected letters, digits and . _ + ? = -`,
      );
    }
    try {
      await makeFolderIn(this.#cacheDir, this.#folder);
      // Two commands may set the same pin at once.
      const temporary = join(this.#folder, `.${randomBytes(12).toString('hex')}`);
      await replaceFile(join(this.#folder, name), temporary, async (handle) => {
        await handle.writeFile(`${storePath}\n`);
        await give(this.#cacheDir, handle);
      });
      await syncFolder(this.#folder);
    } catch (error) {
      throw storageError(`can't write the pin ${name}`, error);
    }
  }

  /** Whether there was such a pin. */
  async remove(name: string): Promise<boolean> {
    if (!NAME.test(name)) return false;
    try {
      await rm(join(this.#folder, name));
      await syncFolder(this.#folder);
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw storageError(`can't remove the pin ${name}`, error);
    }
  }
}

/** Undefined for what is no file, which nobody pinned anything with, or is gone. */
async function readPin(file: string): Promise<string | undefined> {
  try {
    return (await stat(file)).isFile() ? await readFile(file, 'utf8') : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    const advice = 'nothing is collected until this pin can be read, or is deleted';
    throw storageError(`can't read ${file} (${advice})`, error);
  }
}
