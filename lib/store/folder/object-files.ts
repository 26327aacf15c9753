// Objects of which each has a file of its own, whatever else is in that: they are opened, looked at, used, and done away with.
import type { Stats } from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import { openForReading, sizeOf, storageError } from '../../disk/files.ts';
import { unlink } from '../../disk/writing.ts';
import { CacheError, isCacheError, isErrno } from '../../errors.ts';
import { idOf } from '../object-id.ts';
import type { Seen, StoredObject } from '../store.ts';
import type { Place } from '../upkeep.ts';
import type { Damaged } from './damaged.ts';
import { fileAt, trashOf, versionOf } from './files.ts';
import { FRESH_MS, isStale, noteUse } from './last-use.ts';
import { OpenFile, type OpenFileOptions } from './open-file.ts';
import type { Tally } from './tally.ts';

/** Bits on a disk decay over months. */
const TRUSTED_MS = 24 * 3600_000;
/** So many are remembered to be right: each takes some hundred bytes. */
const MOST_TRUSTED = 20_000;

export interface FilesOptions {
  readonly folder: string;
  readonly damaged: Damaged;
  /** How much the folder holds. */
  readonly tally: Tally;
  /** Has what is read not count as used; a collection must be able to take it meanwhile. */
  readonly quiet: boolean;
}

/** What is to be known of an object to serve its file. */
export type Found = Pick<OpenFileOptions, 'meta' | 'bodyAt' | 'begun'>;

export abstract class ObjectFiles {
  readonly #options: FilesOptions;
  readonly #placeOf: (id: string) => Place;
  /** Notes a use. */
  readonly #note: typeof noteUse;
  readonly #readLately = new ReadLately();

  constructor(options: FilesOptions, placeOf: (id: string) => Place) {
    this.#options = options;
    this.#placeOf = placeOf;
    this.#note = options.quiet ? async () => {} : noteUse;
  }

  fileOf(path: string): string {
    return fileAt(this.#options.folder, this.#placeOf(idOf(path)));
  }

  /**
   * Where the body of the object lies in a file that was opened for it; undefined if it is none.
   * @throws CacheError `damaged`
   */
  protected abstract find(path: string, handle: FileHandle, stats: Stats): Promise<Found | undefined>;

  async open(path: string): Promise<StoredObject | undefined> {
    const file = this.fileOf(path);
    const handle = await openForReading(file);
    if (handle === undefined) return undefined;
    let version = '';
    try {
      const stats = await handle.stat();
      version = versionOf(stats);
      const reason = this.#options.damaged.reason(file, version);
      if (reason !== undefined) throw new CacheError('damaged', reason);
      const found = await this.find(path, handle, stats);
      if (found !== undefined)
        return this.#opened({ ...found, file, handle, version, mtimeMs: stats.mtimeMs });
    } catch (error) {
      await handle.close();
      if (!isCacheError(error, 'damaged')) throw storageError(`can't read ${file}`, error);
      await this.#options.damaged.putAway(path, file, version, error.message);
      return undefined;
    }
    await handle.close();
    return undefined;
  }

  #opened(opened: Omit<OpenFileOptions, 'noteUse' | 'trusted' | 'onRight' | 'onDamage'>): OpenFile {
    const { file, version } = opened;
    const { path } = opened.meta;
    return new OpenFile({
      ...opened,
      noteUse: this.#note,
      trusted: this.#readLately.has(path, version),
      onRight: () => this.#readLately.add(path, version),
      onDamage: (reason) => this.#options.damaged.putAway(path, file, version, reason),
    });
  }

  async version(path: string): Promise<Seen | undefined> {
    const file = this.fileOf(path);
    const stats = await stat(file).catch((error) => {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw storageError(`can't read ${file}`, error);
    });
    if (stats?.isFile() !== true) return undefined;
    const version = versionOf(stats);
    const isDamaged = this.#options.damaged.reason(file, version) !== undefined;
    if (isDamaged) return undefined;
    const used = () => {
      if (isStale(stats.mtimeMs)) void this.#note(file);
    };
    return { version, freshForMs: FRESH_MS, used };
  }

  async isGone(path: string): Promise<boolean> {
    // Looked for once more at the end: the file may have been put back since the first look.
    if ((await this.version(path)) !== undefined) return false;
    const aside = trashOf(this.#options.folder, this.#placeOf(idOf(path)));
    return (await sizeOf(aside)) === undefined && (await this.version(path)) === undefined;
  }

  async setAsideAs(path: string, reason: string): Promise<boolean> {
    const stats = await this.#statsOf(path);
    if (stats === undefined) return false;
    await this.#options.damaged.setAside(path, this.fileOf(path), versionOf(stats), reason);
    return true;
  }

  async #statsOf(path: string): Promise<Stats | undefined> {
    const stats = await stat(this.fileOf(path)).catch(() => undefined);
    return stats?.isFile() === true ? stats : undefined;
  }

  async delete(path: string): Promise<boolean> {
    const file = this.fileOf(path);
    try {
      const bytes = await sizeOf(file);
      await unlink(file);
      this.#options.tally.changed(-1, -(bytes ?? 0));
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw storageError(`can't delete ${file}`, error);
    }
  }
}

/**
 * Which files were read to the end and found right a short while ago: to hash them again at every hit would cost more than to send
 * them, and what was right a moment ago is in the kernel's memory.
 */
export class ReadLately {
  /** By path: the version that was right, and until when that is believed. */
  readonly #right = new Map<string, { readonly version: string; readonly until: number }>();

  has(path: string, version: string): boolean {
    const right = this.#right.get(path);
    return right !== undefined && right.version === version && performance.now() < right.until;
  }

  add(path: string, version: string): void {
    this.#right.delete(path);
    this.#right.set(path, { version, until: performance.now() + TRUSTED_MS });
    const [oldest] = this.#right.keys();
    if (this.#right.size > MOST_TRUSTED && oldest !== undefined) this.#right.delete(oldest);
  }
}
