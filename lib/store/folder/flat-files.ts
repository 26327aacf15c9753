// The files of the Go service (see ../go-files.ts), served as they stand, where nothing of ours is in their place. That service
// checked nothing, so a NAR whose name is a hash is read once, before it is first served: it may be that of the file or of what is in
// it, and what can't be told is no damage.
import type { Stats } from 'node:fs';
import { type FileHandle, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CacheError, isCacheError } from '../../errors.ts';
import { judgeNamed } from '../../nix/named.ts';
import { hashPartIn } from '../../nix/narinfo.ts';
import { hashInNarName, type NarName, parseObjectName, pathOf } from '../../nix/object-name.ts';
import { readGoNarInfo } from '../go-files.ts';
import { idOf, isId } from '../object-id.ts';
import type { ListedObject } from '../store.ts';
import { barePlaceOf } from './files.ts';
import { type FilesOptions, type Found, ObjectFiles } from './object-files.ts';

/** The last bytes of an xz file (its format's specification, 2.1.2.4), which nothing pads in a NAR. */
const XZ_END = Buffer.from('YZ');

interface Known {
  /** What is wrong with the file; undefined if nothing. */
  readonly damage: string | undefined;
  /** In hexadecimal. */
  readonly sha256: string | undefined;
}

const NOTHING = Buffer.alloc(0);
const NOTHING_KNOWN: Known = { damage: undefined, sha256: undefined };

/** Checked files to remember; forgetting one costs a second reading. */
const MAX_CHECKED = 100_000;

export class FlatFiles extends ObjectFiles {
  readonly #folder: string;
  /** By inode, size, birth and name. */
  readonly #checked = new Map<string, Promise<Known>>();

  constructor(options: FilesOptions) {
    super(options, barePlaceOf);
    this.#folder = options.folder;
  }

  protected async find(path: string, handle: FileHandle, stats: Stats): Promise<Found | undefined> {
    const name = parseObjectName(path.slice(1), '');
    if (name === undefined || !stats.isFile()) return undefined;
    const isTold = name.kind === 'nar' && hashInNarName(name.name) !== undefined;
    const { damage, sha256 } = isTold ? await this.#check(handle, stats, name.name) : NOTHING_KNOWN;
    if (damage !== undefined) throw new CacheError('damaged', damage);
    const { mtime, size } = stats;
    const meta = { path, kind: name.kind, origin: 'unknown', storedAt: mtime, size, sha256 };
    return { meta, bodyAt: 0, begun: NOTHING };
  }

  #check(handle: FileHandle, stats: Stats, name: NarName): Promise<Known> {
    const key = `${stats.ino}:${stats.size}:${stats.birthtimeMs}:${name}`;
    let result = this.#checked.get(key);
    if (result === undefined) {
      if (this.#checked.size >= MAX_CHECKED) this.#checked.clear();
      result = checkNamed(handle, name);
      this.#checked.set(key, result);
      result.catch(() => this.#checked.delete(key));
    }
    return result;
  }

  /** All flat files; those that narinfos among them explain come with their path. */
  async *list(): AsyncIterable<ListedObject> {
    const files = (await readdir(this.#folder)).filter(isId).sort();
    const paths = new Map<string, string>();
    const note = (path: string) => paths.set(idOf(path), path);
    for (const file of files) {
      const narinfo = (await readGoNarInfo(join(this.#folder, file)).catch(() => undefined)) ?? '';
      const hash = hashPartIn(narinfo);
      if (hash !== undefined) note(pathOf({ kind: 'narinfo', hash }));
      const url = /^URL: ([^\s?#]+)/m.exec(narinfo)?.[1];
      if (url !== undefined) note(`/${url}`);
    }
    for (const file of files) {
      const stats = await stat(join(this.#folder, file)).catch(() => undefined);
      if (stats === undefined) continue;
      const { size, mtime } = stats;
      yield {
        path: paths.get(file),
        origin: 'unknown',
        storedAt: mtime,
        lastUse: mtime,
        size,
        sha256: undefined,
      };
    }
  }
}

async function checkNamed(handle: FileHandle, name: NarName): Promise<Known> {
  try {
    const { proof, sha256, size } = await judgeNamed({ name }, () => piecesOf(handle), 'it');
    const damage = proof === 'unproven' ? await lackOfEnd(handle, name, size) : undefined;
    return { damage, sha256 };
  } catch (error) {
    if (isCacheError(error, 'invalid'))
      return { damage: error.message.replace(/^it: /, ''), sha256: undefined };
    throw error;
  }
}

/** What shows that a file was cut off, though nobody can unpack it here: an xz file ends in a magic number of its own. */
async function lackOfEnd(handle: FileHandle, name: NarName, size: number): Promise<string | undefined> {
  if (size === 0) return 'it is empty';
  if (!name.endsWith('.xz')) return undefined;
  const { buffer } = await handle.read(Buffer.alloc(XZ_END.length), 0, XZ_END.length, size - XZ_END.length);
  return buffer.equals(XZ_END) ? undefined : 'it does not end as xz files do';
}

/** Each piece is lent until the next is asked for. */
async function* piecesOf(handle: FileHandle): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
