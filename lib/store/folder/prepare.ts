// Makes the folder usable by the one service that writes to it. A disk that takes no writes at the start is no reason not to serve
// what it holds: what is to be done away with waits until it takes them again. By then others work in the same folders, so only
// what was there at the start is touched.
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isFull } from '../../disk/files.ts';
import { openToWrite, remove, writing } from '../../disk/writing.ts';
import { CacheError, describe, isErrno } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import type { Beginnings } from './beginnings.ts';
import { fileInTrash, trashFolder } from './files.ts';
import { MARK } from './notes.ts';
import { makeFolderIn } from './own.ts';
import { putBack } from './put-back.ts';
import { isSomebodys } from './writer.ts';

export class Preparation {
  readonly #folder: string;
  readonly #beginnings: Beginnings;
  readonly #emit: Emit;
  readonly #left: { tmp: string[]; trash: string[] } = { tmp: [], trash: [] };
  #state: 'done' | 'due' | 'under way' = 'done';

  constructor(folder: string, beginnings: Beginnings, emit: Emit) {
    this.#folder = folder;
    this.#beginnings = beginnings;
    this.#emit = emit;
  }

  /**
   * Removes what a crash left half-written, puts back what it left half-removed, and shows that the disk takes writes. If it takes
   * none now, it is said so, and the rest is for {@link goOn}. `sole`: see {@link isSomebodys}.
   * @throws CacheError `startup`
   */
  async begin(sole: boolean): Promise<void> {
    try {
      await makeFolderIn(this.#folder, this.#folder);
      await readdir(this.#folder);
      this.#left.tmp = [];
      for (const name of await namesIn(this.#tmp))
        if (name !== MARK && !(await isSomebodys(this.#tmp, name, sole))) this.#left.tmp.push(name);
      this.#left.trash = await namesIn(trashFolder(this.#folder));
    } catch (error) {
      throw this.#unusable(error);
    }
    try {
      await this.#prepare();
    } catch (error) {
      if (!isFull(error) && !isErrno(error, 'EROFS')) throw this.#unusable(error);
      this.#state = 'due';
      this.#emit({ kind: 'writable', folder: this.#folder, why: reason(error) });
    }
  }

  /** Does what is still due, if the disk takes writes by now; for whoever is about to write. */
  async goOn(): Promise<void> {
    if (this.#state !== 'due') return;
    this.#state = 'under way';
    try {
      await this.#prepare();
      this.#state = 'done';
      this.#emit({ kind: 'writable', folder: this.#folder, why: undefined });
    } catch {
      this.#state = 'due';
    }
  }

  async #prepare(): Promise<void> {
    const { tmp, trash } = this.#left;
    await this.#beginnings.rescue(this.#tmp, tmp);
    for (const name of tmp) await remove(join(this.#tmp, name));
    await this.#beginnings.prune();
    for (const name of trash) await this.#takeBack(name);
    await makeFolderIn(this.#folder, this.#tmp);
    await this.#probe();
  }

  get #tmp(): string {
    return join(this.#folder, 'tmp');
  }

  /** Nobody knows any more if it was used at the last moment. */
  async #takeBack(name: string): Promise<void> {
    const file = join(trashFolder(this.#folder), name);
    const place = fileInTrash(this.#folder, name);
    if (place !== undefined) {
      await makeFolderIn(this.#folder, dirname(place));
      await putBack(file, place);
    } else await remove(file);
  }

  async #probe(): Promise<void> {
    const probe = join(this.#tmp, 'probe');
    const handle = await openToWrite(probe, 'w');
    try {
      await writing(() => handle.writeFile(Buffer.alloc(64 * 1024, 1)));
      await writing(() => handle.sync());
    } finally {
      await handle.close();
      await remove(probe);
    }
  }

  #unusable(error: unknown): CacheError {
    const hint = isErrno(error, 'EACCES', 'EPERM') ? ownershipHint(this.#folder) : '';
    return new CacheError(
      'startup',
      `can't use the cache folder ${this.#folder}: ${reason(error)}${hint}`,
      error,
    );
  }
}

function reason(error: unknown): string {
  return isFull(error) ? 'the disk is full' : describe(error);
}

/** The usual mistake: a volume that belongs to somebody else. */
function ownershipHint(folder: string): string {
  const [user, group] = [process.getuid?.(), process.getgid?.()];
  if (user === undefined) return '';
  return `; the service runs as user ${user}, who must own the folder and all in it: chown -R ${user}:${group} ${folder}`;
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  });
}
