// A spool in the folder: an exclusive temporary file with room for the header in front. It becomes an object by
// being given its header, synced and renamed; until then a crash leaves nothing but a file that the next start removes.
import { type FileHandle, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isFull, storageError } from '../../disk/files.ts';
import { link, openToWrite, rename, unlink, writing } from '../../disk/writing.ts';
import { type CacheError, isCacheError, isErrno } from '../../errors.ts';
import type { Spool } from '../scratch.ts';
import type { ObjectMeta } from '../store.ts';
import { encodeHeader, HEADER_BYTES } from './header.ts';
import { MARK } from './notes.ts';
import { give, makeFolderIn } from './own.ts';
import { lacksLinks } from './put-back.ts';
import { isLeft, tempName } from './writer.ts';

/** Who is told how a temporary file fares. */
export interface TempFileWatch {
  closed(): void;
  /** The disk takes no more. */
  full(): void;
  /** It could not be closed, or not be deleted: a start does that. */
  left(error: CacheError): void;
}

export class TempFile implements Spool {
  readonly #handle: Promise<FileHandle>;
  readonly #path: string;
  readonly #watch: TempFileWatch;
  #closed: Promise<void> | undefined;
  #kept = false;
  #isFinished = false;

  private constructor(handle: Promise<FileHandle>, path: string, watch: TempFileWatch) {
    this.#handle = handle;
    this.#path = path;
    this.#watch = watch;
    // Avoid an unhandled rejection; callers that await the handle still see the error.
    handle.catch(() => {});
  }

  /** Nobody waits for the file: a download shows its first bytes meanwhile. */
  static create(folder: string, watch: TempFileWatch): TempFile {
    const path = join(folder, tempName());
    const cacheDir = dirname(folder);
    const handle = openToWrite(path, 'wx+')
      .catch(async (error) => {
        // The folder, or its disk, was removed, and is back now.
        if (!isErrno(error, 'ENOENT')) throw error;
        await makeFolderIn(cacheDir, folder);
        return openToWrite(path, 'wx+');
      })
      .then(async (opened) => {
        await give(cacheDir, opened);
        return opened;
      })
      .catch((error) => {
        throw storageError(`can't create a temporary file in ${folder}`, error);
      });
    return new TempFile(handle, path, watch);
  }

  /** Takes over a file that has room for a header in front. */
  static async adopt(path: string, watch: TempFileWatch): Promise<TempFile> {
    const handle = await openToWrite(path, 'r+').catch((error) => {
      throw storageError(`can't open ${path}`, error);
    });
    return new TempFile(Promise.resolve(handle), path, watch);
  }

  async ready(): Promise<void> {
    await this.#handle;
  }

  async writeHeader(header: Buffer): Promise<void> {
    await this.#writeAll(header, 0);
  }

  /** Gives it another name, under which it stays when it is closed. */
  async moveTo(target: string): Promise<void> {
    await rename(this.#path, target);
    this.#kept = true;
  }

  async write(chunk: Uint8Array, offset: number): Promise<void> {
    try {
      await this.#writeAll(chunk, HEADER_BYTES + offset);
    } catch (error) {
      if (isCacheError(error, 'storage')) throw error;
      if (isFull(error)) this.#watch.full();
      throw storageError(`can't write ${this.#path}`, error);
    }
  }

  /** On a disk that is nearly full a write may take a part and say nothing. */
  async #writeAll(bytes: Uint8Array, position: number): Promise<void> {
    const handle = await this.#handle;
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await writing(() =>
        handle.write(bytes, done, bytes.length - done, position + done),
      );
      done += bytesWritten;
    }
  }

  async read(buffer: Uint8Array, offset: number): Promise<number> {
    const handle = await this.#handle;
    try {
      return (await handle.read(buffer, 0, buffer.length, HEADER_BYTES + offset)).bytesRead;
    } catch (error) {
      throw storageError(`can't read ${this.#path}`, error);
    }
  }

  /** Puts the header before the body, which may be given here if nothing was written yet, and has all of it on the disk. */
  async finish(meta: ObjectMeta, sync: boolean, body?: Buffer): Promise<void> {
    try {
      const header = encodeHeader(meta);
      await this.#writeAll(body === undefined ? header : Buffer.concat([header, body]), 0);
      const handle = await this.#handle;
      if (sync) await writing(() => handle.sync());
      this.#isFinished = true;
    } catch (error) {
      if (isFull(error)) this.#watch.full();
      throw isCacheError(error) ? error : storageError(`can't write ${this.#path}`, error);
    }
  }

  /** Moves the file, finished or not yet, to `target`; false if something is there and `replace` is not wished. */
  async commit(
    meta: ObjectMeta,
    target: string,
    { replace, sync }: { readonly replace: boolean; readonly sync: boolean },
  ): Promise<boolean> {
    // A rename may reach the disk before the bytes do: without a sync, power loss leaves a whole name on half a file.
    if (!this.#isFinished) await this.finish(meta, sync);
    try {
      if (replace) {
        await rename(this.#path, target);
        this.#kept = true;
        return true;
      }
      return await this.#linkTo(target);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) throw error;
      throw storageError(`can't write ${target}`, error);
    }
  }

  /** link(2) fails where rename(2) would replace; the temporary name goes when the file is closed. */
  async #linkTo(target: string): Promise<boolean> {
    try {
      await link(this.#path, target);
      return true;
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false;
      // Replacing equal content does no harm.
      if (!lacksLinks(error)) throw error;
      await rename(this.#path, target);
      this.#kept = true;
      return true;
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close().finally(this.#watch.closed);
    return this.#closed;
  }

  async #close(): Promise<void> {
    const handle = await this.#handle.catch(() => undefined);
    if (handle === undefined) return;
    // A failed close loses nothing: a stored body is stored, and any other is discarded.
    await writing(() => handle.close()).catch((error) => {
      this.#watch.left(storageError(`can't close ${this.#path}`, error));
    });
    if (this.#kept) return;
    // unlink, because rm first looks at the file synchronously and blocks the process.
    await unlink(this.#path).catch((error) => {
      if (!isErrno(error, 'ENOENT')) this.#watch.left(storageError(`can't delete ${this.#path}`, error));
    });
  }
}

/** A day: no upload and no download stands still for so long. */
const ABANDONED_MS = 24 * 3_600_000;

/**
 * Deletes the temporary files in `folder` of commands that were killed: those of the service itself go when it starts. `sole`: see
 * {@link isLeft}.
 */
export async function dropAbandoned(folder: string, sole: boolean): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const file = join(folder, name);
    const stats = await stat(file).catch(() => undefined);
    if (name === MARK || stats === undefined || !(stats.isFile() || stats.isSocket())) continue;
    const isOld = stats.isFile() && Date.now() - stats.mtimeMs > ABANDONED_MS;
    if (isOld || (await isLeft(folder, name, sole))) await unlink(file).catch(() => {});
  }
}
