// The folder: `ab/<sha256 of the path, hex>`, one file an object, its header explaining it (see header.ts), beside `tmp/` for
// what is being written, `partial/` for downloads that a stop interrupted, `trash/` for what is on its way out, `pins/`, and
// `quarantine/` for what turned out damaged. There is no index: the files are the truth, so a start looks at no object, and
// the command line works beside a running service.
import type { Stats } from 'node:fs';
import { type FileHandle, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isFull, openForReading, sizeOf, storageError, syncFolder } from '../../disk/files.ts';
import { CacheError, describe, isCacheError, isErrno } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import { Exclusive } from '../../sync/exclusive.ts';
import type { Spool } from '../scratch.ts';
import type { ListedObject, ObjectMeta, PutOptions, Store } from '../store.ts';
import { type Commits, MOST_COMMITTED_BYTES } from './commits.ts';
import { placeOf } from './files.ts';
import { FolderSpool } from './folder-spool.ts';
import { encodeHeader, HEADER_BYTES, readHeader } from './header.ts';
import type { KeptFiles } from './kept-files.ts';
import { MOST_TELLING_BYTES, mayName, noteOf } from './note-of.ts';
import { note } from './notes.ts';
import { type FilesOptions, type Found, ObjectFiles } from './object-files.ts';
import { makeFolderIn } from './own.ts';
import type { FolderScratch } from './scratch.ts';
import type { Tally } from './tally.ts';
import type { TempFile } from './temp-file.ts';

interface FolderStoreOptions extends FilesOptions {
  readonly scratch: FolderScratch;
  readonly durability: 'full' | 'relaxed';
  readonly emit: Emit;
  readonly commits: Commits;
}

export class FolderStore extends ObjectFiles implements Store {
  readonly #folder: string;
  readonly #scratch: FolderScratch;
  readonly #tally: Tally;
  readonly #emit: Emit;
  readonly #durability: 'full' | 'relaxed';
  readonly #kept: KeptFiles | undefined;
  readonly #commits: Commits;
  /** Who changes an object has the version for which it was asked to all alone. */
  readonly #changing = new Exclusive();
  /** Fan-out folders that are known to survive a power loss. */
  readonly #durableFolders = new Set<string>();
  /** Objects that the thread has put a short while ago. */
  readonly #safe = new Safe();

  constructor(options: FolderStoreOptions) {
    super(options, placeOf);
    this.#folder = options.folder;
    this.#scratch = options.scratch;
    this.#tally = options.tally;
    this.#emit = options.emit;
    this.#durability = options.durability;
    this.#kept = options.kept;
    this.#commits = options.commits;
  }

  protected async find(path: string, handle: FileHandle, stats: Stats): Promise<Found> {
    if (!stats.isFile()) throw new CacheError('damaged', 'it is no file');
    const { meta, length: bodyAt, begun } = await readHeader(handle);
    if (meta.path !== path) throw new CacheError('damaged', `its header says it is ${meta.path}`);
    const size = stats.size - bodyAt;
    if (size !== meta.size) {
      throw new CacheError('damaged', `its body has ${size} bytes, its header says ${meta.size}`);
    }
    return { meta, bodyAt, begun };
  }

  async put(body: Spool | Buffer, meta: ObjectMeta, options: PutOptions): Promise<'stored' | 'exists'> {
    if (!(Buffer.isBuffer(body) || body instanceof FolderSpool))
      throw new TypeError('a folder takes the spools of its own scratch space');
    const small = Buffer.isBuffer(body) ? body : body.small;
    if (small === undefined) return this.#putWhen(await (body as FolderSpool).file(), meta, options);
    const committed = await this.#commit(small, meta, options);
    if (committed !== undefined) return committed;
    const file = this.#scratch.tempFile();
    try {
      return await this.#putWhen(file, meta, options, small);
    } finally {
      // Nobody waits for that.
      void file.close();
    }
  }

  /** A small body is put where it belongs by a thread, if there is one; undefined if not. */
  async #commit(
    body: Buffer,
    meta: ObjectMeta,
    { durable, when }: PutOptions,
  ): Promise<'stored' | 'exists' | undefined> {
    const canBe = typeof when === 'string' && this.#durability === 'full';
    if (!canBe || body.length > MOST_COMMITTED_BYTES || !this.#commits.isOpen) return undefined;
    // Of its own: what shares memory with others is sent to the thread with all of that, and kept with it.
    const bytes = Buffer.allocUnsafeSlow(HEADER_BYTES + body.length);
    encodeHeader(meta).copy(bytes);
    body.copy(bytes, HEADER_BYTES);
    const manner = { replace: when === 'always', durable };
    const file = this.fileOf(meta.path);
    const bodies = this.#kept?.bodies;
    // What was pushed is seldom asked for soon.
    const isExpected = meta.kind === 'nar' && meta.origin !== 'push';
    const coming = isExpected ? bodies?.coming(meta.path, file) : undefined;
    let isUntouched = false;
    const placed = await this.#commits
      .put(file, bytes, manner)
      .catch((error) => {
        if (isFull(error.cause)) this.#scratch.full();
        throw error;
      })
      .finally(() => {
        isUntouched = coming !== undefined && bodies?.settled(coming) === true;
      });
    if (placed === undefined) return undefined;
    this.#kept?.drop(meta.path);
    const { before, version } = placed;
    if (version === undefined) return 'exists';
    if (coming !== undefined && isUntouched)
      bodies?.keep(coming, meta, version, bytes.subarray(HEADER_BYTES));
    this.#tally.changed(before === undefined ? 1 : 0, bytes.length - (before ?? 0));
    if (durable) this.#safe.add(meta.path, version);
    return 'stored';
  }

  /** `body`: what the spool is still to hold. */
  #putWhen(
    spool: TempFile,
    meta: ObjectMeta,
    options: PutOptions,
    body?: Buffer,
  ): Promise<'stored' | 'exists'> {
    const { when } = options;
    const put = (replace: boolean) => this.#put({ spool, body }, meta, options, replace);
    if (typeof when === 'string') return put(when === 'always');
    return this.#changing.run(meta.path, async () => {
      const { version } = (await this.version(meta.path)) ?? {};
      return version === when.version ? put(true) : 'exists';
    });
  }

  async #put(
    { body, spool }: { readonly spool: TempFile; readonly body: Buffer | undefined },
    meta: ObjectMeta,
    { durable }: PutOptions,
    replace: boolean,
  ): Promise<'stored' | 'exists'> {
    const file = this.fileOf(meta.path);
    const sync = this.#durability === 'full';
    // A replaced file no longer counts; most files are new, so its size is looked up only when replacing.
    const [before] = await Promise.all([replace ? sizeOf(file) : undefined, spool.finish(meta, sync, body)]);
    await this.#note(spool, meta, body);
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
    this.#kept?.drop(meta.path);
    if (stored) this.#tally.changed(before === undefined ? 1 : 0, HEADER_BYTES + meta.size - (before ?? 0));
    // An existing object is synced too: it may come from a download, which is not made durable.
    if (durable) await this.#syncName(file);
    return stored ? 'stored' : 'exists';
  }

  /** What the object names is noted now that all of it is in the spool. */
  async #note(spool: TempFile, meta: ObjectMeta, body: Buffer | undefined): Promise<void> {
    if (!mayName(meta)) return;
    const bytesOf = async () => {
      const buffer = Buffer.alloc(Math.min(meta.size, MOST_TELLING_BYTES));
      return buffer.subarray(0, await spool.read(buffer, 0));
    };
    const tell = async () => {
      const one = noteOf(meta, (body ?? (await bytesOf())).toString());
      return one === undefined ? [] : [one];
    };
    await note(this.#folder, tell).catch((error) => {
      throw storageError(`can't note what ${meta.path} names`, error);
    });
  }

  async sync(path: string): Promise<void> {
    if (this.#durability === 'relaxed') return;
    const safe = this.#safe.get(path);
    // A sync of what is on the disk anyway still has the disk empty its own memory.
    if (safe !== undefined && (await this.version(path))?.version === safe) return;
    await this.#syncName(this.fileOf(path));
  }

  async #syncName(file: string): Promise<void> {
    if (this.#durability === 'relaxed') return;
    const folder = dirname(file);
    const exists = await syncFolder(folder);
    if (this.#durableFolders.has(folder)) return;
    // Syncs the name of the `ab/` folder; without that folder, the object is a bare file in the cache folder itself.
    await syncFolder(this.#folder);
    if (exists) this.#durableFolders.add(folder);
  }

  async *list(): AsyncIterable<ListedObject> {
    const folders = (await readdir(this.#folder)).filter((name) => /^[0-9a-f]{2}$/.test(name)).sort();
    for (const one of folders) {
      const folder = join(this.#folder, one);
      const names = await readdir(folder).catch((error) => {
        this.#warn(`${folder} can't be listed: ${describe(error)}`);
        return [];
      });
      for (const name of names.sort()) {
        const listed = await this.#listed(join(folder, name));
        if (listed !== undefined) yield listed;
      }
    }
  }

  /** What one file says of itself; undefined if it vanished, for a running service may delete, is not ours, or can't be read. */
  async #listed(file: string): Promise<ListedObject | undefined> {
    let handle: FileHandle | undefined;
    try {
      handle = await openForReading(file);
      if (handle === undefined) return undefined;
      const { meta } = await readHeader(handle);
      return { ...meta, lastUse: (await handle.stat()).mtime };
    } catch (error) {
      this.#warn(`${file} is not a cache object: ${describe(error)}`);
      return undefined;
    } finally {
      await handle?.close();
    }
  }

  #warn(text: string): void {
    this.#emit({ kind: 'notice', level: 'warn', text });
  }
}

/** As many as are pushed before their narinfos come. */
const MOST_SAFE = 2000;

/** Which objects are known to survive a power loss: their versions, by path. */
class Safe {
  readonly #versions = new Map<string, string>();

  get(path: string): string | undefined {
    return this.#versions.get(path);
  }

  add(path: string, version: string): void {
    this.#versions.delete(path);
    this.#versions.set(path, version);
    const [oldest] = this.#versions.keys();
    if (this.#versions.size > MOST_SAFE && oldest !== undefined) this.#versions.delete(oldest);
  }
}
