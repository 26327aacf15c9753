// Where an import takes narinfos and NARs from: a folder, or another cache over HTTP.
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { collect } from '../bytes/streams.ts';
import { CacheError, describe, isCacheError, isErrno } from '../errors.ts';
import { readNarInfo } from '../narinfos/narinfo-text.ts';
import { MAX_NARINFO_BYTES } from '../nix/narinfo.ts';
import { parseObjectName, pathOf } from '../nix/object-name.ts';
import { isStoreHash, type StoreHash } from '../nix/store-path.ts';
import type { Answer } from '../upstream/answer.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { parseUrl } from '../url.ts';
import { type Besides, MOST_BYTES } from './besides.ts';

export interface ImportSource {
  /** Undefined if it has none. */
  narInfo(hash: StoreHash): Promise<string | undefined>;
  /**
   * What a narinfo's `url` refers to.
   * @throws CacheError `not-found` if there is nothing
   */
  nar(url: string): Promise<AsyncIterable<Buffer>>;
  /** What it has of a path besides; undefined if there is no such thing. */
  besides(name: Besides): Promise<Buffer | undefined>;
  /** All of that which can be listed: a cache over HTTP lists none. */
  list(): AsyncIterable<Besides>;
}

const PIECE_BYTES = 1 << 20;
/** How often another cache is asked for what it fails to send. */
const ATTEMPTS = 3;

/** The hashes of the paths that a folder has narinfos of. */
export async function hashesIn(folder: string): Promise<StoreHash[]> {
  const names = await readdir(folder).catch((error) => {
    throw new CacheError('startup', `can't read ${folder}: ${describe(error)}`, error);
  });
  const hashes = names.filter((name) => name.endsWith('.narinfo')).map((name) => name.slice(0, -8));
  return hashes.filter(isStoreHash).sort();
}

/** A folder such as `nix copy --to file://…` and {@link exportTo} write. */
export class FolderSource implements ImportSource {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async narInfo(hash: StoreHash): Promise<string | undefined> {
    const file = join(this.#folder, `${hash}.narinfo`);
    try {
      const stats = await stat(file);
      // A device or a pipe may have no end.
      if (!stats.isFile()) throw new CacheError('invalid', `${file} is no file`);
      if (stats.size <= MAX_NARINFO_BYTES) return await readFile(file, 'utf8');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw isCacheError(error) ? error : unreadable(file, error);
    }
    throw new CacheError('invalid', `${file} is longer than ${MAX_NARINFO_BYTES} bytes`);
  }

  async nar(url: string): Promise<AsyncIterable<Buffer>> {
    for (const file of filesFor(this.#folder, url)) {
      const stats = await stat(file).catch(() => undefined);
      if (stats?.isFile()) return readPieces(file);
    }
    throw new CacheError('not-found', `the narinfo's NAR ${JSON.stringify(url)} is not in ${this.#folder}`);
  }

  async besides(name: Besides): Promise<Buffer | undefined> {
    for (const path of namesOf(name)) {
      const file = join(this.#folder, path);
      const stats = await stat(file).catch((error) => {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw unreadable(file, error);
      });
      if (stats?.isFile() !== true) continue;
      if (stats.size > MOST_BYTES) throw tooLong(file);
      return readFile(file).catch((error) => {
        throw unreadable(file, error);
      });
    }
    return undefined;
  }

  async *list(): AsyncGenerator<Besides> {
    for (const folder of ['log', 'realisations', 'build-trace-v2', 'debuginfo']) {
      const entries = await readdir(join(this.#folder, folder), { recursive: true }).catch(() => []);
      for (const entry of entries.sort()) {
        const name =
          parseObjectName(`${folder}/${entry}`, '') ?? parseObjectName(`${folder}/${entry}.debug`, '');
        if (name !== undefined && name.kind !== 'narinfo' && name.kind !== 'nar') yield name;
      }
    }
  }
}

/** The files that may have this name: some tools leave out the ending. */
function namesOf(name: Besides): string[] {
  const path = pathOf(name);
  return name.kind === 'debug-info' ? [path, path.replace(/\.debug$/, '')] : [path];
}

/** One bad place on a stick says nothing of the next file. */
function unreadable(file: string, cause: unknown): CacheError {
  return new CacheError('damaged', `can't read ${file}`, cause);
}

function tooLong(label: string): CacheError {
  return new CacheError('too-large', `${label} is longer than ${MOST_BYTES} bytes`);
}

/** @throws CacheError `damaged` where the file can't be read */
export async function* readPieces(file: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(file, { highWaterMark: PIECE_BYTES }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** The files of the folder that a narinfo's URL may mean; none of them is outside of it, whatever the URL says. */
function filesFor(folder: string, reference: string): string[] {
  const base = 'http://folder.invalid/';
  const url = parseUrl(reference, base);
  if (url === undefined) return [];
  const path = decoded(url.pathname);
  // A cache that was copied with wget has the query in its file names, and nothing of another host.
  const names = [`${path}${url.search}`, path, `/nar/${path.slice(path.lastIndexOf('/') + 1)}`];
  const root = resolve(folder);
  const files = names.filter((name) => !name.includes('\0')).map((name) => resolve(root, `.${name}`));
  return files.filter((file) => file.startsWith(root.endsWith(sep) ? root : root + sep));
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Another cache. */
export class UpstreamSource implements ImportSource {
  readonly #upstream: Upstream;
  readonly #signal: AbortSignal;
  /** Each narinfo is looked at twice. */
  readonly #texts = new Map<StoreHash, Promise<string | undefined>>();

  constructor(upstream: Upstream, signal: AbortSignal) {
    this.#upstream = upstream;
    this.#signal = signal;
  }

  narInfo(hash: StoreHash): Promise<string | undefined> {
    let text = this.#texts.get(hash);
    if (text === undefined) {
      text = this.#askNarInfo(hash);
      this.#texts.set(hash, text);
      text.catch(() => this.#texts.delete(hash));
    }
    return text;
  }

  async #askNarInfo(hash: StoreHash): Promise<string | undefined> {
    return this.#askSmall(this.#upstream.resolve(`${hash}.narinfo`), readNarInfo);
  }

  async besides(name: Besides): Promise<Buffer | undefined> {
    for (const path of namesOf(name)) {
      // `?` is the one character of our names that a URL would read as something else.
      const url = this.#upstream.resolve(path.slice(1).replaceAll('?', '%3F'));
      const found = await this.#askSmall(url, (answer, label) =>
        collect(answer.body, MOST_BYTES, () => tooLong(label)),
      ).catch((error) => {
        // Not every cache knows addresses of this kind.
        if (isCacheError(error, 'refused') || isCacheError(error, 'not-found')) return undefined;
        throw error;
      });
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async *list(): AsyncGenerator<Besides> {}

  async #askSmall<T>(url: URL, read: (answer: Answer, label: string) => Promise<T>): Promise<T | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#upstream.get(url, false, this.#signal, { insist: true });
        return answer && (await read(answer, url.href));
      } catch (error) {
        if (attempt === ATTEMPTS || this.#signal.aborted || !isPassing(error)) throw error;
      }
    }
  }

  async nar(url: string): Promise<AsyncIterable<Buffer>> {
    return this.#pieces(this.#upstream.resolve(url));
  }

  /** What breaks off is asked for again from the byte where it did, if it can be told that it is still the same file. */
  async *#pieces(url: URL): AsyncGenerator<Buffer> {
    let at = 0;
    let validator: string | undefined;
    for (let failures = 0; ; ) {
      try {
        const part = at === 0 ? undefined : { start: at, end: undefined };
        const answer = await this.#upstream.get(url, true, this.#signal, { part, insist: true });
        if (answer === undefined) throw new CacheError('not-found', `${url.href} is not there`);
        if (at > 0 && (answer.validator !== validator || answer.start > at)) {
          answer.body.destroy();
          throw new CacheError('invalid', `${url.href} changed while it was read`);
        }
        validator = answer.validator;
        let skip = at - answer.start;
        for await (const chunk of answer.body) {
          const fresh = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - fresh.length;
          if (fresh.length === 0) continue;
          failures = 0;
          at += fresh.length;
          yield fresh;
        }
        if (answer.size === undefined || at === answer.size) return;
        throw new CacheError('upstream', `${url.href} ends after ${at} of ${answer.size} bytes`);
      } catch (error) {
        failures++;
        const canGoOn = at === 0 || validator !== undefined;
        if (failures === ATTEMPTS || !canGoOn || this.#signal.aborted || !isPassing(error)) throw error;
      }
    }
  }
}

function isPassing(error: unknown): boolean {
  return isCacheError(error, 'upstream') || isCacheError(error, 'timeout') || isCacheError(error, 'proxy');
}
