// Downloads that the end of the service interrupted: `partial/<SHA-256 of the path>`, the body as far as it had come without
// a gap, behind a header that says what it is to become. They are trusted only as far as the hash of the finished whole.
import { access, open, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isFull } from '../../disk/files.ts';
import { remove, rename, unlink } from '../../disk/writing.ts';
import { isErrno } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import { idOf } from '../object-id.ts';
import type { Beginning } from '../scratch.ts';
import { HEADER_BYTES } from './header.ts';
import { makeFolderIn } from './own.ts';
import type { TempFile } from './temp-file.ts';

const MAX_BEGINNINGS = 32;
const MAX_AGE_MS = 7 * 24 * 3600_000;

export class Beginnings {
  readonly #folder: string;
  readonly #emit: Emit;
  /** Of what every download meets while the disk is not as it should be. */

  constructor(folder: string, emit: Emit) {
    this.#folder = folder;
    this.#emit = emit;
  }

  /** Takes over what a service that was killed had noted of itself in these files of `tmp`, unless the disk is full. */
  async rescue(tmp: string, names: readonly string[]): Promise<void> {
    for (const name of names) {
      const file = join(tmp, name);
      const found = await readBeginning(file).catch(() => undefined);
      if (found === undefined) continue;
      try {
        await makeFolderIn(dirname(this.#folder), this.#folder);
        await rename(file, join(this.#folder, idOf(found.path)));
      } catch (error) {
        // On a full disk beginnings are dropped to free space.
        if (isFull(error)) return;
        throw error;
      }
    }
  }

  /** Deletes those that are too old or too many. */
  async prune(): Promise<void> {
    const names = await readdir(this.#folder).catch(() => []);
    const files = await Promise.all(
      names.map(async (name) => {
        const file = join(this.#folder, name);
        return {
          file,
          mtimeMs: await stat(file)
            .then((stats) => stats.mtimeMs)
            .catch(() => 0),
        };
      }),
    );
    files.sort((a, b) => b.mtimeMs - a.mtimeMs);
    // Times in the future count as old too: a clock that was set back would keep those files for as long.
    const isOld = (mtimeMs: number) => Math.abs(Date.now() - mtimeMs) > MAX_AGE_MS;
    const surplus = files.filter(({ mtimeMs }, i) => i >= MAX_BEGINNINGS || isOld(mtimeMs));
    for (const { file } of surplus) await remove(file);
  }

  /** Writes into the spool what it is the beginning of; that it can't is no more than a pity. */
  async note(spool: TempFile, beginning: Beginning): Promise<void> {
    const header = Buffer.alloc(HEADER_BYTES, ' ');
    header.write(`${JSON.stringify({ partial: 1, ...beginning })}\n`);
    await spool.writeHeader(header).catch((error) => {
      this.#emit({ kind: 'beginning-lost', path: beginning.path, step: 'note', error });
    });
  }

  /** Keeps what is in the spool; that it can't is no more than a pity. */
  async keep(spool: TempFile, beginning: Beginning): Promise<void> {
    try {
      await makeFolderIn(dirname(this.#folder), this.#folder);
      await this.note(spool, beginning);
      await spool.moveTo(join(this.#folder, idOf(beginning.path)));
    } catch (error) {
      this.#emit({ kind: 'beginning-lost', path: beginning.path, step: 'keep', error });
    }
    // Too many beginnings are harmless, and the next one tries to prune again.
    await this.prune().catch(() => {});
  }

  /** Deletes all, for the disk is full. Never rejects. */
  async clear(): Promise<void> {
    const names = await readdir(this.#folder).catch(() => []);
    await Promise.allSettled(names.map((name) => remove(join(this.#folder, name))));
  }

  /** The beginning of what is wanted, if there is one that can be had: `adopt` gets it, under the name `target`. */
  async take(
    wanted: Omit<Beginning, 'length'>,
    target: string,
    adopt: (file: string) => Promise<TempFile>,
  ): Promise<{ spool: TempFile; length: number } | undefined> {
    try {
      const kept = join(this.#folder, idOf(wanted.path));
      // Looked at first: with nothing to move there is no need to wait for a disk that takes no writes.
      await access(kept);
      await rename(kept, target);
      const found = await readBeginning(target);
      const fits =
        found?.path === wanted.path && found.sha256 === wanted.sha256 && found.size === wanted.size;
      if (found !== undefined && fits) return { spool: await adopt(target), length: found.length };
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      this.#emit({ kind: 'beginning-lost', path: wanted.path, step: 'take', error });
    }
    await unlink(target).catch(() => {});
    return undefined;
  }
}

/** What the file says that it is the beginning of, as far as that can be; undefined if it is none. */
async function readBeginning(file: string): Promise<Beginning | undefined> {
  const handle = await open(file, 'r');
  try {
    const head = Buffer.alloc(HEADER_BYTES);
    await handle.read(head, 0, HEADER_BYTES, 0);
    const stats = await handle.stat();
    const found = JSON.parse(head.toString('utf8', 0, head.indexOf(0x0a)));
    const { path, size, sha256 } = found;
    const length = Math.min(Number(found.length), stats.size - HEADER_BYTES, size - 1);
    return found.partial === 1 && length > 0 ? { path, size, sha256, length } : undefined;
  } finally {
    await handle.close();
  }
}
