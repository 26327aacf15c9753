// The folder: `ab/<sha256 of the path, hex>`, one file an object, its header explaining it (see header.ts), beside `tmp/` for
// what is being written, `partial/` for downloads that a stop interrupted, `trash/` for what is on its way out, `pins/`, and
// `quarantine/` for what turned out damaged. There is no index: the files are the truth, so a start looks at no object, and
// the command line works beside a running service.
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { openForReading, sizeOf, storageError, syncFolder } from '../../disk/files.ts';
import { unlink } from '../../disk/writing.ts';
import { CacheError, isCacheError, isErrno } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { Exclusive } from '../../sync/exclusive.ts';
import { idOf } from '../object-id.ts';
import type { Spool } from '../scratch.ts';
import type { ListedObject, ObjectMeta, PutOptions, Seen, Store, StoredObject } from '../store.ts';
import { Damaged } from './damaged.ts';
import { fileOf, placesOf, trashOf, versionOf } from './files.ts';
import { FlatFiles } from './flat-files.ts';
import { HEADER_BYTES, readHeader } from './header.ts';
import { FRESH_MS, isStale, noteUse } from './last-use.ts';
import { listFolder } from './listing.ts';
import { OpenFile, type OpenFileOptions } from './open-file.ts';
import { makeFolderIn } from './own.ts';
import { ReadLately } from './read-lately.ts';
import type { FolderScratch } from './scratch.ts';
import type { Tally } from './tally.ts';
import { TempFile } from './temp-file.ts';

const NOTHING = Buffer.alloc(0);

export interface FolderOptions {
  /** `relaxed` leaves it to the kernel when what is stored is on the disk. */
  readonly durability?: 'full' | 'relaxed';
  /** Has what is read not count as used; a collection must be able to take it meanwhile. */
  readonly quiet?: boolean;
}

interface FolderParts {
  readonly scratch: FolderScratch;
  /** How much it holds. */
  readonly tally: Tally;
  readonly log: Log;
}

export class FolderStore implements Store {
  readonly #folder: string;
  readonly #scratch: FolderScratch;
  readonly #tally: Tally;
  readonly #log: Log;
  readonly #damaged: Damaged;
  readonly #durability: 'full' | 'relaxed';
  /** Notes a use. */
  readonly #noteUse: typeof noteUse;
  readonly #flat: FlatFiles;
  readonly #readLately = new ReadLately();
  /** Who changes an object has the version for which it was asked to all alone. */
  readonly #changing = new Exclusive();
  /** Fan-out folders that are known to survive a power loss. */
  readonly #durableFolders = new Set<string>();

  constructor(
    folder: string,
    { durability = 'full', log, quiet = false, scratch, tally }: FolderOptions & FolderParts,
  ) {
    this.#folder = folder;
    this.#scratch = scratch;
    this.#tally = tally;
    this.#log = log;
    this.#damaged = new Damaged(folder, tally, log);
    this.#durability = durability;
    this.#noteUse = quiet ? async () => {} : noteUse;
    this.#flat = new FlatFiles(folder);
  }

  async open(path: string): Promise<StoredObject | undefined> {
    const file = this.#fileOf(path);
    const handle = await openForReading(file);
    if (handle === undefined) return this.#openFlat(path);
    let version = '';
    try {
      const stats = await handle.stat();
      version = versionOf(stats);
      const reason = this.#damaged.reason(path, version);
      if (reason !== undefined) throw new CacheError('damaged', reason);
      if (!stats.isFile()) throw new CacheError('damaged', 'it is no file');
      const { meta, length: bodyAt, begun } = await readHeader(handle);
      if (meta.path !== path) throw new CacheError('damaged', `its header says it is ${meta.path}`);
      const size = stats.size - bodyAt;
      if (size !== meta.size) {
        throw new CacheError('damaged', `its body has ${size} bytes, its header says ${meta.size}`);
      }
      return this.#opened({ file, handle, meta, bodyAt, begun, version, mtimeMs: stats.mtimeMs });
    } catch (error) {
      await handle.close();
      if (!isCacheError(error, 'damaged')) throw storageError(`can't read ${file}`, error);
      await this.#damaged.putAway(path, file, version, error.message);
      return undefined;
    }
  }

  async #openFlat(path: string): Promise<StoredObject | undefined> {
    const found = await this.#flat.open(path);
    if (found === undefined) return undefined;
    if ('damage' in found) {
      await this.#damaged.putAway(path, found.file, found.version, found.damage);
      return undefined;
    }
    const { file, handle, meta, stats } = found;
    return this.#opened({
      file,
      handle,
      meta,
      bodyAt: 0,
      begun: NOTHING,
      version: versionOf(stats),
      mtimeMs: stats.mtimeMs,
    });
  }

  #opened(opened: Omit<OpenFileOptions, 'noteUse' | 'trusted' | 'onRight' | 'onDamage'>): OpenFile {
    const { file, version } = opened;
    const { path } = opened.meta;
    return new OpenFile({
      ...opened,
      noteUse: this.#noteUse,
      trusted: this.#readLately.has(path, version),
      onRight: () => this.#readLately.add(path, version),
      onDamage: (reason) => this.#damaged.putAway(path, file, version, reason),
    });
  }

  /** See {@link Damaged.setAside}. */
  setAside(path: string, file: string, version: string, reason: string): Promise<boolean> {
    return this.#damaged.setAside(path, file, version, reason);
  }

  async version(path: string): Promise<Seen | undefined> {
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      const stats = await stat(file).catch((error) => {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw storageError(`can't read ${file}`, error);
      });
      if (stats?.isFile() !== true) continue;
      const version = versionOf(stats);
      if (this.#damaged.reason(path, version) !== undefined) continue;
      return { version, freshForMs: FRESH_MS };
    }
    return undefined;
  }

  used(path: string): void {
    void this.#noteUsed(path);
  }

  async #noteUsed(path: string): Promise<void> {
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      const stats = await stat(file).catch(() => undefined);
      if (stats?.isFile() !== true) continue;
      if (isStale(stats.mtimeMs)) await this.#noteUse(file);
      return;
    }
  }

  async isGone(path: string): Promise<boolean> {
    const id = idOf(path);
    // Looked for once more at the end: the file may have been put back since the first look.
    if ((await this.version(path)) !== undefined) return false;
    for (const place of placesOf(id))
      if ((await sizeOf(trashOf(this.#folder, place))) !== undefined) return false;
    return (await this.version(path)) === undefined;
  }

  async setAsideAs(path: string, reason: string): Promise<void> {
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      const stats = await stat(file).catch(() => undefined);
      if (stats?.isFile() === true) return void (await this.setAside(path, file, versionOf(stats), reason));
    }
  }

  async put(body: Spool | Buffer, meta: ObjectMeta, options: PutOptions): Promise<'stored' | 'exists'> {
    if (Buffer.isBuffer(body)) {
      const spool = this.#scratch.spool();
      try {
        await spool.write(body, 0);
        return await this.put(spool, meta, options);
      } finally {
        await spool.close();
      }
    }
    if (!(body instanceof TempFile))
      throw new TypeError('a folder takes the spools of its own scratch space');
    const { when } = options;
    if (typeof when === 'string') return this.#put(body, meta, options, when === 'always');
    return this.#changing.run(meta.path, async () => {
      const { version } = (await this.version(meta.path)) ?? {};
      return version === when.version ? this.#put(body, meta, options, true) : 'exists';
    });
  }

  async #put(
    spool: TempFile,
    meta: ObjectMeta,
    { durable }: PutOptions,
    replace: boolean,
  ): Promise<'stored' | 'exists'> {
    const file = this.#fileOf(meta.path);
    const sync = this.#durability === 'full';
    // A replaced file no longer counts; most files are new, so its size is looked up only when replacing.
    const before = replace ? await sizeOf(file) : undefined;
    const stored = await spool.commit(meta, file, { replace, sync }).catch(async (error) => {
      if (!isErrno(error, 'ENOENT')) throw error;
      // The folder's name is new, even if an earlier one of that name was durable and removed.
      this.#durableFolders.delete(dirname(file));
      await makeFolderIn(this.#folder, dirname(file)).catch((failed) => {
        throw storageError(`can't make ${dirname(file)}`, failed);
      });
      return spool.commit(meta, file, { replace, sync }).catch((again) => {
        throw isCacheError(again) ? again : storageError(`can't write ${file}`, again);
      });
    });
    if (stored) this.#tally.changed(before === undefined ? 1 : 0, HEADER_BYTES + meta.size - (before ?? 0));
    // An existing object is synced too: it may come from a download, which is not made durable.
    if (durable) await this.sync(meta.path);
    return stored ? 'stored' : 'exists';
  }

  async sync(path: string): Promise<void> {
    if (this.#durability === 'relaxed') return;
    const folder = dirname(this.#fileOf(path));
    const exists = await syncFolder(folder);
    if (this.#durableFolders.has(folder)) return;
    // Syncs the name of the `ab/` folder; without that folder, the object is a flat file of the Go service in the cache folder itself.
    await syncFolder(this.#folder);
    if (exists) this.#durableFolders.add(folder);
  }

  async delete(path: string): Promise<boolean> {
    let deleted = false;
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      try {
        const bytes = await sizeOf(file);
        await unlink(file);
        this.#tally.changed(-1, -(bytes ?? 0));
        deleted = true;
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw storageError(`can't delete ${file}`, error);
      }
    }
    return deleted;
  }

  list(): AsyncIterable<ListedObject> {
    return listFolder(this.#folder, this.#flat, this.#log);
  }

  #fileOf(path: string): string {
    return fileOf(this.#folder, idOf(path));
  }
}
