// Objects of which each has a file of its own, whatever else is in that: they are opened, looked at, used, and done away with.
import type { Stats } from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import { giveBuffer, lend, takeBuffer } from '../../bytes/buffers.ts';
import { openForReading, sizeOf, statOf, storageError } from '../../disk/files.ts';
import { unlink } from '../../disk/writing.ts';
import { CacheError, isCacheError, isErrno, lacksDescriptors } from '../../errors.ts';
import { idOf } from '../object-id.ts';
import type { ReadyBody, Seen, StoredObject } from '../store.ts';
import type { Place } from '../upkeep.ts';
import type { Damaged } from './damaged.ts';
import { Descriptor } from './descriptor.ts';
import { fileAt, trashOf, versionOf } from './files.ts';
import type { FreshBody } from './fresh-bodies.ts';
import type { HotReads } from './hot-reads.ts';
import type { KeptFiles, Known } from './kept-files.ts';
import { FRESH_MS, isStale, noteUse } from './last-use.ts';
import { OpenFile } from './open-file.ts';
import type { Tally } from './tally.ts';

/** Bits on a disk decay over months. */
const TRUSTED_MS = 24 * 3600_000;
/** Of each the file's name takes some hundred bytes. */
const MOST_FILES = 12_000;
/** So many are remembered to be right: each takes some hundred bytes. */
const MOST_TRUSTED = 20_000;

export interface FilesOptions {
  readonly folder: string;
  readonly damaged: Damaged;
  /** How much the folder holds. */
  readonly tally: Tally;
  /** Has what is read not count as used; a collection must be able to take it meanwhile. */
  readonly quiet: boolean;
  /** Where files stay open; undefined where that is not wished. */
  readonly kept?: KeptFiles | undefined;
  readonly hot?: HotReads | undefined;
}

/** What is to be known of an object to serve its file; `begun`: so much of the body, from its first byte, was read already. */
export type Found = Pick<Known, 'meta' | 'bodyAt'> & { readonly begun: Buffer };

const NOTHING = Buffer.alloc(0);
/** The times of the disk and of this process are the same but for rounding. */
const SAME_MS = 2;

export abstract class ObjectFiles {
  readonly #options: FilesOptions;
  readonly #placeOf: (id: string) => Place;
  /** Notes a use. */
  readonly #note: typeof noteUse;
  readonly #readLately = new ReadLately();
  /** What was asked for lately, by path: its name takes as long to make as a look at it. */
  readonly #files = new Map<string, string>();

  constructor(options: FilesOptions, placeOf: (id: string) => Place) {
    this.#options = options;
    this.#placeOf = placeOf;
    this.#note = options.quiet ? async () => undefined : noteUse;
  }

  fileOf(path: string): string {
    let file = this.#files.get(path);
    if (file === undefined) {
      file = fileAt(this.#options.folder, this.#placeOf(idOf(path)));
      if (this.#files.size >= MOST_FILES) this.#files.clear();
      this.#files.set(path, file);
    }
    return file;
  }

  /**
   * Where the body of the object lies in a file that was opened for it; undefined if it is none.
   * @throws CacheError `damaged`
   */
  protected abstract find(path: string, handle: FileHandle, stats: Stats): Promise<Found | undefined>;

  async open(path: string, serves = false): Promise<StoredObject | undefined> {
    return (await this.#openKept(path)) ?? this.#openByName(path, serves);
  }

  /** The object at once, if its file is kept open and may be believed to be the one under its name. */
  ready(path: string): StoredObject | undefined {
    const known = this.#options.kept?.ready(path) ?? this.#seenAgain(path);
    if (known === undefined) return undefined;
    known.descriptor.share();
    return this.#opened(known);
  }

  readyBody(path: string): ReadyBody | undefined {
    const { hot, kept } = this.#options;
    const fresh = this.#fresh(path);
    if (fresh !== undefined) return { meta: fresh.meta, body: { bytes: fresh.body, giveBack: () => {} } };
    const known = kept?.ready(path) ?? this.#seenAgain(path);
    if (known === undefined || hot === undefined) return undefined;
    const { bodyAt, meta, mtimeMs, version } = known;
    // Of what is unusual, and of a use that is to be noted, care is taken in the usual way.
    if (!hot.canRead(known, meta.size) || isStale(mtimeMs)) return undefined;
    if (meta.sha256 !== undefined && !this.#readLately.has(path, version, mtimeMs)) return undefined;
    const buffer = takeBuffer(meta.size);
    if (hot.read(known, buffer, meta.size, bodyAt)) return { meta, body: lend(buffer, meta.size) };
    giveBuffer(buffer);
    return undefined;
  }

  /** What was just stored under the path, if that is still there as far as can be told at once. */
  #fresh(path: string): FreshBody | undefined {
    const fresh = this.#options.kept?.bodies.get(path);
    if (fresh === undefined || performance.now() - fresh.seenAt < FRESH_MS) return fresh;
    const seenAt = performance.now();
    const seen = this.versionNow(path);
    if (typeof seen !== 'object' || seen.version !== fresh.version) return undefined;
    fresh.seenAt = seenAt;
    return fresh;
  }

  /** The file that is kept open for it, if a look that nobody waits for shows that it is still the one under its name. */
  #seenAgain(path: string): Known | undefined {
    const { damaged, hot, kept } = this.#options;
    const known = kept?.get(path);
    if (kept === undefined || known === undefined || hot?.canRead(known, 0) !== true) return undefined;
    const seenAt = performance.now();
    const stats = hot.look(known.file);
    if (stats === undefined || stats === 'none' || versionOf(stats) !== known.version) return undefined;
    if (damaged.reason(known.file, known.version) !== undefined) return undefined;
    known.mtimeMs = stats.mtimeMs;
    kept.seen(path, known, seenAt, kept.changes);
    return known;
  }

  /** By the file that is kept open for it, if that is still the one under its name. */
  async #openKept(path: string): Promise<StoredObject | undefined> {
    const { damaged, kept } = this.#options;
    const known = kept?.get(path);
    if (kept === undefined || known === undefined) return undefined;
    const { descriptor, file, version } = known;
    descriptor.share();
    const seenAt = performance.now();
    const { changes } = kept;
    const stats = await statOf(file).catch(() => undefined);
    const isSame = stats !== undefined && versionOf(stats) === version;
    if (isSame && damaged.reason(file, version) === undefined) {
      known.mtimeMs = stats.mtimeMs;
      kept.seen(path, known, seenAt, changes);
      return this.#opened(known);
    }
    kept.drop(path);
    await descriptor.done().catch(() => {});
    return undefined;
  }

  async #openByName(path: string, serves: boolean): Promise<StoredObject | undefined> {
    const { damaged, kept } = this.#options;
    const file = this.fileOf(path);
    const seenAt = performance.now();
    const changes = kept?.changes ?? 0;
    const handle = await openForReading(file).catch((error) => {
      // Others need them more.
      if (lacksDescriptors(error) && kept?.clear() === true) return openForReading(file);
      throw error;
    });
    if (handle === undefined) return undefined;
    let version = '';
    try {
      const stats = await handle.stat();
      version = versionOf(stats);
      const reason = damaged.reason(file, version);
      if (reason !== undefined) throw new CacheError('damaged', reason);
      const found = await this.find(path, handle, stats);
      if (found !== undefined) {
        const { begun, bodyAt, meta } = found;
        const descriptor = new Descriptor(handle);
        const known = {
          ...{ bodyAt, descriptor, file, meta, version },
          ...{ mtimeMs: stats.mtimeMs, hotUntil: Number.NEGATIVE_INFINITY },
        };
        return this.#opened(known, begun, () => {
          // Of others there is nothing to be gained: narinfos are served from memory.
          if (serves && meta.kind === 'nar') kept?.keep(path, known, seenAt, changes);
        });
      }
    } catch (error) {
      await handle.close();
      if (!isCacheError(error, 'damaged')) throw storageError(`can't read ${file}`, error);
      await damaged.putAway(path, file, version, error.message);
      return undefined;
    }
    await handle.close();
    return undefined;
  }

  #opened(known: Known, begun: Buffer = NOTHING, onRead = () => {}): OpenFile {
    const { file, meta, version } = known;
    const { path } = meta;
    let { mtimeMs } = known;
    return new OpenFile({
      ...{ begun, known, hot: this.#options.hot },
      noteUse: async () => {
        const notedMs = await this.#note(file, known.descriptor);
        if (notedMs === undefined) return;
        // That changes the file's time, which then is no sign that somebody wrote to it.
        this.#readLately.touched(path, version, mtimeMs, notedMs);
        mtimeMs = notedMs;
        known.mtimeMs = notedMs;
      },
      onRead,
      trusted: this.#readLately.has(path, version, mtimeMs),
      onRight: () => this.#readLately.add(path, version, mtimeMs),
      onDamage: (reason) => this.#options.damaged.putAway(path, file, version, reason),
    });
  }

  async version(path: string): Promise<Seen | undefined> {
    const file = this.fileOf(path);
    const stats = await stat(file).catch((error) => {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw storageError(`can't read ${file}`, error);
    });
    return this.#seen(file, stats);
  }

  versionNow(path: string): Seen | 'none' | undefined {
    const { hot } = this.#options;
    if (hot?.canLook() !== true) return undefined;
    const file = this.fileOf(path);
    const stats = hot.look(file);
    return stats === undefined
      ? undefined
      : (this.#seen(file, stats === 'none' ? undefined : stats) ?? 'none');
  }

  #seen(file: string, stats: Stats | undefined): Seen | undefined {
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
      this.#options.kept?.drop(path);
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
 * them, and what was right a moment ago is in the kernel's memory. Who writes to a file changes its time, unless he takes pains not to,
 * and what has another time than it had is hashed again; what decays under a file shows after a day, or when all files are read.
 */
export class ReadLately {
  /** By path: the version that was right, the file's time then, and until when that is believed. */
  readonly #right = new Map<
    string,
    { readonly version: string; readonly mtimeMs: number; readonly until: number }
  >();

  has(path: string, version: string, mtimeMs: number): boolean {
    const right = this.#right.get(path);
    if (right === undefined || right.version !== version || performance.now() >= right.until) return false;
    return Math.abs(right.mtimeMs - mtimeMs) <= SAME_MS;
  }

  /** That a use was noted is no reason to doubt what was right; nor to believe it for longer. */
  touched(path: string, version: string, fromMs: number, toMs: number): void {
    const right = this.#right.get(path);
    if (right !== undefined && this.has(path, version, fromMs))
      this.#right.set(path, { ...right, mtimeMs: toMs });
  }

  add(path: string, version: string, mtimeMs: number): void {
    this.#right.delete(path);
    this.#right.set(path, { version, mtimeMs, until: performance.now() + TRUSTED_MS });
    const [oldest] = this.#right.keys();
    if (this.#right.size > MOST_TRUSTED && oldest !== undefined) this.#right.delete(oldest);
  }
}
