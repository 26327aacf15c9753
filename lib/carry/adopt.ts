// Takes over what the Go service left (see store/go-files.ts): narinfos, and the NARs to which they lead. They are checked, which that
// service never did, and become objects.
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDecodable } from '../bytes/codings.ts';
import { piecesOf } from '../bytes/streams.ts';
import { storageError } from '../disk/files.ts';
import { CacheError, describe, isErrno } from '../errors.ts';
import { caContents } from '../nix/ca-contents.ts';
import { isContentAddressed } from '../nix/content-address.ts';
import { checkFits, withoutNeedlessSize } from '../nix/fits.ts';
import { sha256FromBytes } from '../nix/hash.ts';
import { narNameOf } from '../nix/nar-names.ts';
import { type NarInfo, parseNarInfo, withFileSize } from '../nix/narinfo.ts';
import { hashInNarName, type NarName, pathOf } from '../nix/object-name.ts';
import { checkUnpacked, Digest } from '../nix/unpacked.ts';
import { goNamesAt, readGoNarInfo } from '../store/go-files.ts';
import { idOf, isId } from '../store/object-id.ts';
import type { Spool } from '../store/scratch.ts';
import type { Storage } from '../store/storage.ts';
import type { ObjectMeta, PutOptions, StoredObject } from '../store/store.ts';
import { storeBytes } from '../store/store-body.ts';
import { bodyFor, MOST_BYTES, namesFor } from './besides.ts';
import { readPieces } from './import-source.ts';
import { attempt, checkAborted, counted, type TransferWatch } from './transfer.ts';

interface AdoptOptions {
  readonly storage: Storage;
  /** Whether the folder is that of the store itself. */
  readonly inPlace: boolean;
  readonly storeDir: string;
  readonly folder: string;
  readonly watch: TransferWatch;
  readonly signal: AbortSignal;
}

interface Adopted {
  /** Files that nothing explains. */
  readonly unnamed: readonly string[];
  /** Store paths whose NAR is not there: they are had from the upstreams again when somebody asks. */
  readonly lacking: readonly string[];
}

const KEEP: PutOptions = { when: 'absent', durable: true };

/** @throws CacheError `startup`, `storage` or `aborted` */
export async function adopt(options: AdoptOptions): Promise<Adopted> {
  const { folder, inPlace, signal, watch } = options;
  const names = await readdir(folder).catch((error) => {
    throw new CacheError('startup', `can't read ${folder}: ${describe(error)}`, error);
  });
  const files = new Set(names.filter(isId));
  const run = new Run(options, files, inPlace);
  const narInfos: string[] = [];
  for (const file of files) if ((await readGoNarInfo(join(folder, file))) !== undefined) narInfos.push(file);
  watch.total(narInfos.length);
  for (const file of narInfos.sort()) {
    checkAborted(signal);
    await run.take(file);
  }
  const known = idOf('/nix-cache-info');
  return { unnamed: [...run.unnamed].filter((file) => file !== known).sort(), lacking: run.lacking };
}

class Run {
  readonly unnamed: Set<string>;
  readonly lacking: string[] = [];
  readonly #options: AdoptOptions;
  readonly #files: ReadonlySet<string>;
  readonly #inPlace: boolean;

  constructor(options: AdoptOptions, files: ReadonlySet<string>, inPlace: boolean) {
    this.#options = options;
    this.#files = files;
    this.#inPlace = inPlace;
    this.unnamed = new Set(files);
  }

  async take(file: string): Promise<void> {
    const { folder, storage, storeDir, watch } = this.#options;
    const { store } = storage;
    const text = await readGoNarInfo(join(folder, file));
    if (text === undefined) return;
    this.unnamed.delete(file);
    const label = /^StorePath: (\S+)/.exec(text)?.[1] ?? file;
    await attempt(this.#options, label, async () => {
      const info = parseNarInfo(text, storeDir);
      const path = pathOf({ kind: 'narinfo', hash: info.hashPart });
      if (idOf(path) !== file) {
        throw new CacheError(
          'invalid',
          `its narinfo lies under the name ${file}, which is not that of ${path}`,
        );
      }
      const narName = narNameOf(info, 'unknown');
      const narPath = pathOf({ kind: 'nar', name: narName, hash: undefined });
      const flat = goNamesAt(info.url).find((name) => this.#files.has(name));
      if (flat !== undefined) this.unnamed.delete(flat);
      const how = await this.#takeNar(info, narName, narPath, flat);
      if (how === undefined) {
        this.lacking.push(info.storePath);
        return;
      }
      const nar = await store.open(narPath);
      await nar?.close();
      const put = await this.#takeText(info, nar === undefined ? text : withFileSize(text, nar.meta.size));
      await this.#takeBesides(info);
      if (this.#inPlace) await this.#clear(file, flat === idOf(narPath) ? flat : undefined);
      watch.done(how === 'exists' && put === 'exists' ? 'there' : 'taken');
    });
  }

  /** Undefined if there is no NAR. */
  async #takeNar(
    info: NarInfo,
    name: NarName,
    path: string,
    flat: string | undefined,
  ): Promise<'stored' | 'exists' | undefined> {
    const { folder, storage } = this.#options;
    const { store } = storage;
    // In place, the store itself shows the flat file too.
    const mayBeFlat = this.#inPlace && flat !== undefined;
    const there = mayBeFlat ? undefined : await store.open(path);
    if (there !== undefined) {
      await there.close();
      checkFits(withoutNeedlessSize(info), there.meta);
      return 'exists';
    }
    if (flat === undefined) return undefined;
    const stats = await stat(join(folder, flat)).catch((error) => {
      // Another path shares the NAR, which was taken over with that one.
      if (isErrno(error, 'ENOENT')) return undefined;
      throw storageError(`can't read ${flat}`, error);
    });
    if (stats === undefined) return this.#takeNar(info, name, path, undefined);
    // A device or a pipe may have no end.
    if (!stats.isFile()) throw new CacheError('invalid', `${flat}, its NAR, is no file`);
    return this.#copyNar(info, name, path, { file: join(folder, flat), storedAt: stats.mtime });
  }

  async #copyNar(
    info: NarInfo,
    name: NarName,
    path: string,
    { file, storedAt }: { readonly file: string; readonly storedAt: Date },
  ): Promise<'stored' | 'exists'> {
    const { signal, storage, storeDir, watch } = this.#options;
    const spool = storage.scratch.spool();
    try {
      await spool.ready();
      const digest = new Digest();
      const chunks = spooled(digest.through(counted(readPieces(file), watch, signal)), spool);
      const { compression } = info;
      const address = isContentAddressed(info, storeDir) ? caContents(info) : undefined;
      if (compression === 'none' ? address !== undefined : isDecodable(compression))
        await checkUnpacked(info.storePath, info, chunks, address);
      for await (const _ of chunks);
      const hash = digest.end();
      // The narinfo's FileHash counts before the name, which may be made of the NarHash.
      const promised = info.fileHash === undefined ? hashInNarName(name) : undefined;
      const found = sha256FromBytes(hash);
      if (promised !== undefined && promised !== found && promised !== info.narHash)
        throw new CacheError('invalid', `the SHA-256 of ${path} is ${found}, its name says ${promised}`);
      const meta: ObjectMeta = {
        path,
        kind: 'nar',
        origin: 'unknown',
        storedAt,
        size: digest.size,
        sha256: hash.toString('hex'),
        narHash: `sha256:${info.narHash}`,
      };
      checkFits(withoutNeedlessSize(info), meta);
      return await this.#put(spool, meta);
    } finally {
      await spool.close();
    }
  }

  /** What is kept instead of it must be whole: the flat file may go. */
  async #put(spool: Spool, meta: ObjectMeta): Promise<'stored' | 'exists'> {
    const { store } = this.#options.storage;
    if ((await store.put(spool, meta, KEEP)) === 'stored') return 'stored';
    if (await isWhole(await store.open(meta.path))) return 'exists';
    return store.put(spool, meta, { ...KEEP, when: 'always' });
  }

  /** That service kept whatever was asked for, and its files have names that only those of their objects lead to. */
  async #takeBesides(info: NarInfo): Promise<void> {
    const { folder, storage, watch } = this.#options;
    const { store } = storage;
    for (const name of namesFor(info)) {
      const id = idOf(pathOf(name));
      if (!this.unnamed.has(id)) continue;
      const file = join(folder, id);
      const stats = await stat(file).catch(() => undefined);
      if (stats?.isFile() !== true || stats.size > MOST_BYTES) continue;
      const body = await attempt(this.#options, pathOf(name), async () => {
        const found = await readFile(file).catch((error) => {
          throw new CacheError('damaged', `can't read ${file}`, error);
        });
        return bodyFor(name, found);
      });
      if (body === undefined) continue;
      this.unnamed.delete(id);
      if ((await storeBytes(store, name, body, 'unknown', KEEP)) === 'stored') watch.besides();
      if (this.#inPlace) await this.#clear(id);
    }
  }

  async #takeText(info: NarInfo, text: string): Promise<'stored' | 'exists'> {
    const { store } = this.#options.storage;
    const name = { kind: 'narinfo', hash: info.hashPart } as const;
    const put = (when: PutOptions['when']) =>
      storeBytes(store, name, Buffer.from(text), 'unknown', { ...KEEP, when });
    if ((await put('absent')) === 'stored') return 'stored';
    return (await isWhole(await store.open(pathOf(name)))) ? 'exists' : put('always');
  }

  /** Of a NAR that has got another name the flat file stays: clients may know it by the old one. */
  async #clear(...files: readonly (string | undefined)[]): Promise<void> {
    for (const file of files) {
      if (file === undefined) continue;
      await rm(join(this.#options.folder, file), { force: true }).catch((error) => {
        throw storageError(`can't remove ${file}`, error);
      });
    }
  }
}

async function* spooled(chunks: AsyncIterable<Buffer>, spool: Spool): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const chunk of chunks) {
    await spool.write(chunk, at);
    at += chunk.length;
    yield chunk;
  }
}

/** Reads all of it; what is damaged is set aside by that. */
async function isWhole(object: StoredObject | undefined): Promise<boolean> {
  if (object === undefined) return false;
  try {
    for await (const _ of piecesOf(object.reader(0, object.meta.size)));
    return true;
  } catch (error) {
    if (error instanceof CacheError && error.code === 'damaged') return false;
    throw error;
  }
}
