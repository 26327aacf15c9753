// Downloads that a stop of the service interrupted: `partial/<SHA-256 of the path>`, the body as far as it had come without a
// gap, behind a header that says what it is to become. They are trusted only as far as the hash of the finished whole.
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, isErrno } from '../errors.ts';
import type { Log } from '../log.ts';
import { fileNameOf } from './files.ts';
import { HEADER_BYTES } from './header.ts';
import type { Beginning } from './store.ts';
import type { TempFile } from './temp-file.ts';

const MAX_PARTIALS = 32;
const MAX_AGE_MS = 7 * 24 * 3600_000;

export class Partials {
  readonly #folder: string;
  readonly #log: Log;

  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
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
    const surplus = files.filter(({ mtimeMs }, i) => i >= MAX_PARTIALS || Date.now() - mtimeMs > MAX_AGE_MS);
    for (const { file } of surplus) await rm(file, { recursive: true, force: true });
  }

  /** Keeps what is in the spool; that it can't is no more than a pity. */
  async keep(spool: TempFile, partial: Beginning): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      const header = Buffer.alloc(HEADER_BYTES, ' ');
      header.write(`${JSON.stringify({ partial: 1, ...partial })}\n`);
      await spool.moveTo(join(this.#folder, fileNameOf(partial.path)), header);
    } catch (error) {
      this.#log.warn(`what has come of ${partial.path} is not kept: ${describe(error)}`);
    }
  }

  /** The beginning of what is wanted, if there is one: it is the caller's from now on, under the name `target`. */
  async take(
    wanted: Omit<Beginning, 'length'>,
    target: string,
  ): Promise<{ path: string; length: number } | undefined> {
    try {
      await rename(join(this.#folder, fileNameOf(wanted.path)), target);
      const handle = await open(target, 'r');
      try {
        const head = Buffer.alloc(HEADER_BYTES);
        await handle.read(head, 0, HEADER_BYTES, 0);
        const { size } = await handle.stat();
        const found = JSON.parse(head.toString('utf8', 0, head.indexOf(0x0a)));
        const fits = found.partial === 1 && found.path === wanted.path && found.sha256 === wanted.sha256;
        const length = Math.min(Number(found.length), size - HEADER_BYTES, wanted.size - 1);
        if (fits && found.size === wanted.size && length > 0) return { path: target, length };
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      this.#log.warn(`the beginning of ${wanted.path} can't be used: ${describe(error)}`);
    }
    await rm(target, { force: true }).catch(() => {});
    return undefined;
  }
}
