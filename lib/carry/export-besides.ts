// Writes what belongs to exported paths besides narinfo and NAR, as far as it is here. Listings and logs are found by their names;
// for what tells of its path only in its body, all small files of the cache are looked at, once.
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { collect, piecesOf } from '../bytes/streams.ts';
import { sizeOf } from '../disk/files.ts';
import type { Engine } from '../engine.ts';
import { CacheError, isCacheError, isErrno } from '../errors.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { endingOf } from '../nix/compression.ts';
import { parseObjectName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import {
  type Besides,
  fileNameIn,
  logOf,
  MOST_INDEX_BYTES,
  namesFor,
  narIn,
  outPathIn,
  withNar,
} from './besides.ts';
import { placeFile, prepareTarget } from './place.ts';
import { attempt, checkAborted, type TransferWatch } from './transfer.ts';

interface Options {
  readonly engine: Engine;
  readonly folder: string;
  readonly watch: TransferWatch;
  readonly signal: AbortSignal;
}

export class ExportedBesides {
  readonly #options: Options;
  readonly #paths = new Set<StoreHash>();
  /** Of exported NARs: whatever else an index may call one, and its name. */
  readonly #nars = new Map<string, string>();
  readonly #folders = new Map<string, Promise<void>>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** A path was exported, its NAR under that name. */
  async ofPath({ info }: KnownNarInfo, narName: string): Promise<void> {
    this.#paths.add(info.hashPart);
    const ending = endingOf(info.compression);
    for (const hash of [info.fileHash, info.narHash])
      if (hash !== undefined) this.#nars.set(`${hash}.nar${ending}`, narName);
    for (const name of [fileNameIn(info.url), narName]) this.#nars.set(name, narName);
    for (const name of namesFor(info)) await this.#write(name);
  }

  /** Once all paths were: `all` that is here, or else what leads to one of them. */
  async rest(all: readonly Besides[] | undefined): Promise<void> {
    if (all !== undefined) for (const name of all) await this.#write(name);
    else for await (const name of this.#search()) await this.#write(name);
  }

  /** Those of the cache whose bodies tell that they lead to a path that was exported. */
  async *#search(): AsyncGenerator<Besides> {
    const { engine, signal, watch } = this.#options;
    const looked = (objects: number) => {
      watch.looked(objects);
      checkAborted(signal);
    };
    for await (const { body, path: found } of engine.upkeep.smallBodies(MOST_INDEX_BYTES, looked)) {
      const name = parseObjectName(found.slice(1), '');
      if (name?.kind !== 'realisation' && name?.kind !== 'build-trace' && name?.kind !== 'debug-info')
        continue;
      const path = name.kind === 'debug-info' ? undefined : outPathIn(body);
      const isOurs = path === undefined ? this.#nars.has(narIn(body) ?? '') : this.#paths.has(path);
      if (isOurs) yield name;
    }
  }

  async #write(name: Besides): Promise<void> {
    const { engine, folder, signal, watch } = this.#options;
    checkAborted(signal);
    const path = pathOf(name);
    const file = join(folder, path);
    const how = await attempt(this.#options, path, async () => {
      const found = await engine.cache.local(name);
      if (found === undefined) return undefined;
      try {
        await this.#makeFolder(dirname(file));
        const pieces = piecesOf(found.open(0, undefined));
        if ((found.size ?? 0) > MOST_INDEX_BYTES) return await copyLarge(file, found.size, pieces);
        const tooLong = () => new CacheError('invalid', `it is longer than ${MOST_INDEX_BYTES} bytes`);
        const body = this.#bodyOf(name, await collect(pieces, MOST_INDEX_BYTES, tooLong));
        return body && (await placeUnlessThere(file, body));
      } finally {
        found.close();
      }
    });
    if (how === 'taken') watch.besides();
    if (how !== undefined && name.kind === 'build-trace') await this.#write(logOf(name));
  }

  /** Undefined for an index of debug information whose NAR was not exported. */
  #bodyOf({ kind }: Besides, body: Buffer): Buffer | undefined {
    if (kind !== 'debug-info') return body;
    const nar = this.#nars.get(narIn(body) ?? '');
    return nar === undefined ? undefined : withNar(body, nar);
  }

  #makeFolder(folder: string): Promise<void> {
    let made = this.#folders.get(folder);
    if (made === undefined) {
      made = prepareTarget(folder);
      this.#folders.set(folder, made);
    }
    return made;
  }
}

/** A log: of what stands there as long, it is. */
async function copyLarge(
  file: string,
  size: number | undefined,
  pieces: AsyncIterable<Buffer>,
): Promise<'taken' | 'there'> {
  if ((await sizeOf(file)) === size) return 'there';
  await place(file, pieces);
  return 'taken';
}

async function placeUnlessThere(file: string, body: Buffer): Promise<'taken' | 'there'> {
  const there = await readFile(file).catch(() => undefined);
  if (there?.equals(body) === true) return 'there';
  await place(file, [body]);
  return 'taken';
}

async function place(file: string, pieces: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<void> {
  try {
    await placeFile(file, async (write) => {
      for await (const piece of pieces) await write(piece);
    });
  } catch (error) {
    // FAT and exFAT allow no colon, which names of realisations have; one of their drivers reports it as ENOENT.
    const isOdd = file.includes(':') || file.includes('?');
    const refused =
      isCacheError(error, 'storage') && isErrno(error.cause, 'EINVAL', ...(isOdd ? ['ENOENT'] : []));
    if (!refused) throw error;
    throw new CacheError('unsupported', 'the disk takes no file of this name', error);
  }
}
