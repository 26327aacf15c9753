// The folder: `ab/<sha256 of the path, hex>`, one file an object, its header explaining it (see header.ts), beside `tmp/` for
// what is being written, `partial/` for downloads that a stop interrupted, `trash/` for what is on its way out, `pins/`, and
// `quarantine/` for what turned out damaged. There is no index: the files are the truth, so a start looks at no object, and
// the command line works beside a running service.
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openForReading, sizeOf, storageError, syncFolder } from '../../disk/files.ts';
import { unlink } from '../../disk/writing.ts';
import { CacheError, isCacheError, isErrno } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { UnderWay } from '../../sync/under-way.ts';
import { idOf } from '../object-id.ts';
import type {
  Beginning,
  ListedObject,
  ObjectMeta,
  PutOptions,
  Spool,
  Store,
  StoredObject,
} from '../store.ts';
import { Damaged } from './damaged.ts';
import { fileOf, versionOf } from './files.ts';
import { FlatFiles } from './flat-files.ts';
import { HEADER_BYTES, readHeader } from './header.ts';
import { isStale, noteUse } from './last-use.ts';
import { listFolder } from './listing.ts';
import { OpenFile, type OpenFileOptions } from './open-file.ts';
import { makeFolderIn } from './own.ts';
import { Partials } from './partials.ts';
import { Preparation } from './prepare.ts';
import { ReadLately } from './read-lately.ts';
import { asideOf } from './removal.ts';
import { checkWritable, lackOfRoom } from './room.ts';
import { Tally } from './tally.ts';
import { dropAbandoned, TempFile, type TempFileWatch } from './temp-file.ts';
import { tempName } from './temp-name.ts';

const NOTHING = Buffer.alloc(0);

export interface FolderOptions {
  /** `relaxed` leaves it to the kernel when what is stored is on the disk. */
  readonly durability?: 'full' | 'relaxed';
  /** Has what is read not count as used; a collection must be able to take it meanwhile. */
  readonly quiet?: boolean;
}

export class FolderStore implements Store {
  readonly folder: string;
  /** How much it holds. */
  readonly tally = new Tally();
  readonly #log: Log;
  readonly #damaged: Damaged;
  readonly #durability: 'full' | 'relaxed';
  /** Notes a use. */
  readonly #noteUse: typeof noteUse;
  readonly #flat: FlatFiles;
  readonly #partials: Partials;
  readonly #preparation: Preparation;
  /** Whether no other service has the folder. */
  #sole = false;
  readonly #readLately = new ReadLately();
  /** Fan-out folders that are known to survive a power loss. */
  readonly #durableFolders = new Set<string>();
  /** Spools that are open. */
  readonly #spools = new UnderWay();
  readonly #spoolWatch: TempFileWatch = {
    closed: () => this.#spools.end(),
    full: () => this.#full(),
    left: (error) => this.#log.warn(error.message),
  };

  constructor(folder: string, log: Log, { durability = 'full', quiet = false }: FolderOptions = {}) {
    this.folder = folder;
    this.#log = log;
    this.#damaged = new Damaged(folder, this.tally, log);
    this.#durability = durability;
    this.#noteUse = quiet ? async () => {} : noteUse;
    this.#flat = new FlatFiles(folder);
    this.#partials = new Partials(join(folder, 'partial'), log);
    this.#preparation = new Preparation(folder, this.#partials, log);
  }

  /** See {@link Preparation.begin}. */
  prepare(sole = false): Promise<void> {
    this.#sole = sole;
    return this.#preparation.begin(sole);
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

  async version(path: string): Promise<string | undefined> {
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      const stats = await stat(file).catch((error) => {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw storageError(`can't read ${file}`, error);
      });
      if (stats?.isFile() !== true) continue;
      const version = versionOf(stats);
      if (this.#damaged.reason(path, version) !== undefined) continue;
      if (isStale(stats.mtimeMs)) void this.#noteUse(file);
      return version;
    }
    return undefined;
  }

  async isGone(path: string): Promise<boolean> {
    const id = idOf(path);
    // Once more at the end: it may have been put back since the first look.
    if ((await this.version(path)) !== undefined) return false;
    for (const flat of [false, true])
      if ((await sizeOf(asideOf(this.folder, { id, flat }))) !== undefined) return false;
    return (await this.version(path)) === undefined;
  }

  async setAsideAs(path: string, reason: string): Promise<void> {
    for (const file of [this.#fileOf(path), this.#flat.fileOf(path)]) {
      const stats = await stat(file).catch(() => undefined);
      if (stats?.isFile() === true) return void (await this.setAside(path, file, versionOf(stats), reason));
    }
  }

  async checkRoom(bytes = 0): Promise<void> {
    await checkWritable(this.folder);
    const refusal = await lackOfRoom(this.folder, bytes);
    if (refusal === undefined) return;
    this.#full();
    throw refusal;
  }

  #full(): void {
    this.tally.full();
    // What somebody wants now goes before what somebody may want to go on with.
    void this.#partials.clear();
  }

  spool(): Spool {
    void this.#preparation.goOn();
    this.#spools.begin();
    return TempFile.create(join(this.folder, 'tmp'), this.#spoolWatch);
  }

  /** See {@link dropAbandoned}. */
  dropAbandoned(): Promise<void> {
    return dropAbandoned(join(this.folder, 'tmp'), this.#sole);
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
    return this.#partials.take(wanted, join(this.folder, 'tmp', tempName()), async (file) => {
      const spool = await TempFile.adopt(file, this.#spoolWatch);
      this.#spools.begin();
      return spool;
    });
  }

  idle(): Promise<void> {
    return this.#spools.idle();
  }

  async put(spool: Spool, meta: ObjectMeta, options: PutOptions): Promise<'stored' | 'exists'> {
    if (!(spool instanceof TempFile)) throw new TypeError('a folder store takes the spools it made');
    const file = this.#fileOf(meta.path);
    const replace = options.existing === 'replace';
    const sync = this.#durability === 'full';
    // What is replaced counts no more; by far the most files are new.
    const before = replace ? await sizeOf(file) : undefined;
    const stored = await spool.commit(meta, file, { replace, sync }).catch(async (error) => {
      if (!isErrno(error, 'ENOENT')) throw error;
      // Its name is new, also if it had survived once and was removed.
      this.#durableFolders.delete(dirname(file));
      await makeFolderIn(this.folder, dirname(file)).catch((failed) => {
        throw storageError(`can't make ${dirname(file)}`, failed);
      });
      return spool.commit(meta, file, { replace, sync }).catch((again) => {
        throw isCacheError(again) ? again : storageError(`can't write ${file}`, again);
      });
    });
    if (stored) this.tally.changed(before === undefined ? 1 : 0, HEADER_BYTES + meta.size - (before ?? 0));
    // Also for what exists: it may have come from a download, whose name nobody made durable.
    if (options.durable) await this.sync(meta.path);
    return stored ? 'stored' : 'exists';
  }

  async sync(path: string): Promise<void> {
    if (this.#durability === 'relaxed') return;
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
        const bytes = await sizeOf(file);
        await unlink(file);
        this.tally.changed(-1, -(bytes ?? 0));
        deleted = true;
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw storageError(`can't delete ${file}`, error);
      }
    }
    return deleted;
  }

  list(): AsyncIterable<ListedObject> {
    return listFolder(this.folder, this.#flat, this.#log);
  }

  #fileOf(path: string): string {
    return fileOf(this.folder, { id: idOf(path), flat: false });
  }
}
