// The folder: `ab/<sha256 of the path, hex>`, one file an object, its header explaining it (see header.ts), beside
// `tmp/` for what is being written and `quarantine/` for what turned out damaged. There is no index: the files are
// the truth, so a start reads nothing but `tmp/`, and the command line works beside a running service.
import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CacheError, describe, isCacheError, isErrno } from '../errors.ts';
import type { Log } from '../log.ts';
import { fileNameOf, openForReading, storageError, syncFolder, touch, versionOf } from './files.ts';
import { FlatFiles } from './flat-files.ts';
import { decodeHeader, MAX_HEADER_BYTES } from './header.ts';
import { OpenFile } from './open-file.ts';
import { Partials } from './partials.ts';
import { quarantine } from './quarantine.ts';
import { ReadLately } from './read-lately.ts';
import type { Beginning, ListedObject, ObjectMeta, PutOptions, Spool, Store, StoredObject } from './store.ts';
import { TempFile } from './temp-file.ts';

export class FolderStore implements Store {
  readonly folder: string;
  readonly #log: Log;
  readonly #flat: FlatFiles;
  readonly #partials: Partials;
  readonly #readLately = new ReadLately();
  /** Fan-out folders that are known to survive a power loss. */
  readonly #durableFolders = new Set<string>();
  /** Spools that are open. */
  #spools = 0;
  #idle: () => void = () => {};

  constructor(folder: string, log: Log) {
    this.folder = folder;
    this.#log = log;
    this.#flat = new FlatFiles(folder);
    this.#partials = new Partials(join(folder, 'partial'), log);
  }

  /**
   * Makes the folder usable by the one service that writes to it: removes what a crash left half-written, and shows
   * that the disk takes writes.
   * @throws CacheError `startup`
   */
  async prepare(): Promise<void> {
    const tmp = join(this.folder, 'tmp');
    try {
      await mkdir(tmp, { recursive: true });
      await this.#partials.rescue(tmp);
      for (const name of await readdir(tmp)) await rm(join(tmp, name), { recursive: true, force: true });
      await this.#partials.prune();
      const probe = join(tmp, 'probe');
      const handle = await open(probe, 'w');
      try {
        await handle.writeFile(Buffer.alloc(64 * 1024, 1));
        await handle.sync();
      } finally {
        await handle.close();
        await rm(probe, { force: true });
      }
    } catch (error) {
      const why = isErrno(error, 'ENOSPC', 'EDQUOT') ? 'the disk is full' : describe(error);
      throw new CacheError('startup', `can't use the cache folder ${this.folder}: ${why}`, error);
    }
  }

  async open(path: string): Promise<StoredObject | undefined> {
    const file = this.#fileOf(path);
    const handle = await openForReading(file);
    if (handle === undefined) return this.#openFlat(path);
    let version = '';
    try {
      const stats = await handle.stat();
      version = versionOf(stats);
      const { meta, length } = await readHeader(handle);
      if (meta.path !== path) throw new CacheError('damaged', `its header says it is ${meta.path}`);
      const size = stats.size - length;
      if (size !== meta.size) {
        throw new CacheError('damaged', `its body has ${size} bytes, its header says ${meta.size}`);
      }
      touch(file, stats);
      return this.#opened(handle, meta, length, file, version);
    } catch (error) {
      await handle.close();
      if (!isCacheError(error, 'damaged')) throw storageError(`can't read ${file}`, error);
      await this.#quarantine(path, file, version, error.message);
      return undefined;
    }
  }

  async #openFlat(path: string): Promise<StoredObject | undefined> {
    const found = await this.#flat.open(path);
    if (found === undefined) return undefined;
    if ('damage' in found) {
      await this.#quarantine(path, found.file, found.version, found.damage);
      return undefined;
    }
    touch(found.file, found.stats);
    return this.#opened(found.handle, found.meta, 0, found.file, versionOf(found.stats));
  }

  #opened(handle: FileHandle, meta: ObjectMeta, bodyAt: number, file: string, version: string): OpenFile {
    const { path } = meta;
    return new OpenFile({
      ...{ handle, meta, bodyAt, version },
      trusted: this.#readLately.has(path, version),
      onRight: () => this.#readLately.add(path, version),
      onDamage: (reason) => this.#quarantine(path, file, version, reason),
    });
  }

  #quarantine(path: string, file: string, version: string, reason: string): Promise<void> {
    return quarantine(join(this.folder, 'quarantine'), path, file, version, reason, this.#log);
  }

  async version(path: string): Promise<string | undefined> {
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      const stats = await stat(file).catch((error) => {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw storageError(`can't read ${file}`, error);
      });
      if (stats === undefined) continue;
      touch(file, stats);
      return versionOf(stats);
    }
    return undefined;
  }

  spool(): Spool {
    this.#spools++;
    return TempFile.create(join(this.folder, 'tmp'), () => this.#spoolEnded());
  }

  #spoolEnded(): void {
    this.#spools--;
    if (this.#spools === 0) this.#idle();
  }

  async notePartial(spool: Spool, partial: Beginning): Promise<void> {
    if (spool instanceof TempFile) await this.#partials.note(spool, partial);
  }

  async keepPartial(spool: Spool, partial: Beginning): Promise<void> {
    if (spool instanceof TempFile) await this.#partials.keep(spool, partial);
  }

  async takePartial(
    wanted: Omit<Beginning, 'length'>,
  ): Promise<{ spool: Spool; length: number } | undefined> {
    const taken = await this.#partials.take(
      wanted,
      join(this.folder, 'tmp', randomBytes(12).toString('hex')),
    );
    if (taken === undefined) return undefined;
    this.#spools++;
    try {
      return { spool: await TempFile.adopt(taken.path, () => this.#spoolEnded()), length: taken.length };
    } catch (error) {
      this.#spoolEnded();
      throw error;
    }
  }

  async idle(): Promise<void> {
    if (this.#spools === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  async put(spool: Spool, meta: ObjectMeta, options: PutOptions): Promise<'stored' | 'exists'> {
    if (!(spool instanceof TempFile)) throw new TypeError('a folder store takes the spools it made');
    const file = this.#fileOf(meta.path);
    const replace = options.existing === 'replace';
    const stored = await spool.commit(meta, file, replace).catch(async (error) => {
      if (!isErrno(error, 'ENOENT')) throw error;
      await mkdir(dirname(file), { recursive: true });
      return spool.commit(meta, file, replace).catch((again) => {
        throw storageError(`can't write ${file}`, again);
      });
    });
    // Also for what exists: it may have come from a download, whose name nobody made durable.
    if (options.durable) await this.sync(meta.path);
    return stored ? 'stored' : 'exists';
  }

  async sync(path: string): Promise<void> {
    const folder = dirname(this.#fileOf(path));
    const exists = await syncFolder(folder);
    if (this.#durableFolders.has(folder)) return;
    // Holds the name of the fan-out folder; without that, the object is a flat file of the Go service in here.
    await syncFolder(this.folder);
    if (exists) this.#durableFolders.add(folder);
  }

  async delete(path: string): Promise<boolean> {
    let deleted = false;
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      try {
        await rm(file);
        deleted = true;
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw storageError(`can't delete ${file}`, error);
      }
    }
    return deleted;
  }

  async *list(): AsyncIterable<ListedObject> {
    const folders = (await readdir(this.folder)).filter((name) => /^[0-9a-f]{2}$/.test(name)).sort();
    for (const folder of folders) {
      const names = await readdir(join(this.folder, folder)).catch((error) => {
        this.#log.warn(`${join(this.folder, folder)} can't be listed: ${describe(error)}`);
        return [];
      });
      for (const name of names.sort()) {
        const listed = await this.#describe(join(this.folder, folder, name));
        if (listed !== undefined) yield listed;
      }
    }
    yield* this.#flat.list();
  }

  /** What one file says of itself; undefined if it vanished or is not ours, for a running service may delete. */
  async #describe(file: string): Promise<ListedObject | undefined> {
    const handle = await openForReading(file);
    if (handle === undefined) return undefined;
    try {
      const { meta } = await readHeader(handle);
      return { ...meta, lastUse: (await handle.stat()).mtime };
    } catch (error) {
      this.#log.warn(`${file} is not a cache object: ${describe(error)}`);
      return undefined;
    } finally {
      await handle.close();
    }
  }

  #fileOf(path: string): string {
    const name = fileNameOf(path);
    return join(this.folder, name.slice(0, 2), name);
  }
}

async function readHeader(handle: FileHandle): Promise<ReturnType<typeof decodeHeader>> {
  const head = Buffer.alloc(MAX_HEADER_BYTES);
  const { bytesRead } = await handle.read(head, 0, head.length, 0);
  return decodeHeader(head.subarray(0, bytesRead));
}
