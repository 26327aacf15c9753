// Small NARs that are ready: those that were sent a moment ago, whose files are open, known to be right, and in the kernel's memory. Their
// answers are put together once; what is left of a hit is one read.
import type { Lent } from '../bytes/buffers.ts';
import type { Cache } from '../cache.ts';
import { CacheError } from '../errors.ts';
import { mimeOf, type ObjectName } from '../nix/object-name.ts';
import type { ObjectMeta, StoredObject } from '../store/store.ts';
import { cacheControl, versionHead } from './caching.ts';
import { route } from './route.ts';

type NarFile = Extract<ObjectName, { kind: 'nar' }>;

interface ReadyNar {
  /** Names and values in turn. */
  readonly head: readonly string[];
  readonly body: Lent;
}

/** As many as files are kept open at most. */
const MOST_NAMES = 8192;

export class HotNars {
  readonly #cache: Pick<Cache, 'readyNar'>;
  /** By target, as it came. */
  readonly #names = new Map<string, NarFile>();
  /** What is known of an open file is one object for as long as that is kept. */
  readonly #heads = {
    open: new WeakMap<ObjectMeta, string[]>(),
    closed: new WeakMap<ObjectMeta, string[]>(),
  };

  constructor(cache: Pick<Cache, 'readyNar'>) {
    this.#cache = cache;
  }

  /** The name behind a target that can be of a NAR. */
  nameOf(target: string): NarFile | undefined {
    const known = this.#names.get(target);
    if (known !== undefined) return known;
    const name = narIn(target);
    if (name === undefined) return undefined;
    if (this.#names.size >= MOST_NAMES) this.#names.clear();
    this.#names.set(target, name);
    return name;
  }

  /** `open`: whether anybody may read it. */
  ready(name: NarFile, open: boolean): ReadyNar | undefined {
    const object = this.#cache.readyNar(name);
    if (object === undefined) return undefined;
    const body = bodyOf(object);
    if (body === undefined) {
      object.close().catch(() => {});
      return undefined;
    }
    const heads = open ? this.#heads.open : this.#heads.closed;
    let head = heads.get(object.meta);
    if (head === undefined) {
      head = headOf(object.meta, open);
      heads.set(object.meta, head);
    }
    return { head, body };
  }
}

/** What can't be read is for the long way, which tells what is wrong. */
function bodyOf(object: StoredObject): Lent | undefined {
  try {
    return object.ready();
  } catch (error) {
    if (error instanceof CacheError) return undefined;
    throw error;
  }
}

function narIn(target: string): NarFile | undefined {
  if (!target.startsWith('/nar/')) return undefined;
  try {
    const wanted = route(target);
    return wanted.kind === 'object' && wanted.name.kind === 'nar' && !wanted.pushed ? wanted.name : undefined;
  } catch {
    return undefined;
  }
}

/** The same as send.ts makes of it. */
function headOf({ kind, sha256, size, storedAt }: ObjectMeta, open: boolean): string[] {
  const validators = { etag: sha256 === undefined ? undefined : `"${sha256}"`, modified: storedAt };
  const version = versionHead(validators, cacheControl(sha256 !== undefined, open));
  return [...version, 'Content-Type', mimeOf(kind), 'Accept-Ranges', 'bytes', 'Content-Length', `${size}`];
}
