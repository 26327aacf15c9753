// Small NARs that are ready: those that were sent a moment ago, whose files are open, known to be right, and in the kernel's memory. Their
// answers are put together once; what is left of a hit is one read.
import type { Lent } from '../bytes/buffers.ts';
import type { Cache } from '../cache/cache.ts';
import { keyOf, type NarFile, type NarKey } from '../cache/nars.ts';
import { mimeOf } from '../nix/object-name.ts';
import type { ObjectMeta } from '../store/store.ts';
import { cacheControl, versionHead } from './caching.ts';
import { route } from './route.ts';

interface ReadyNar {
  /** Names and values in turn. */
  readonly head: readonly string[];
  readonly body: Lent;
}

/** What is asked for by a target. */
interface Asked {
  readonly name: NarFile;
  readonly key: NarKey;
}

/** As many as files are kept open at most. */
const MOST_TARGETS = 8192;
/** Longer than all that clients ask by; others have to be found anew each time. */
const MOST_LENGTH = 500;

export class HotNars {
  readonly #cache: Pick<Cache, 'readyNar'>;
  /** By target, as it came. */
  readonly #asked = new Map<string, Asked>();
  /** What is known of an open file is one object for as long as that is kept. */
  readonly #heads = {
    open: new WeakMap<ObjectMeta, string[]>(),
    closed: new WeakMap<ObjectMeta, string[]>(),
  };

  constructor(cache: Pick<Cache, 'readyNar'>) {
    this.#cache = cache;
  }

  /** Undefined for what is not of a NAR, or of one that was pushed only. */
  askedBy(target: string): Asked | undefined {
    const known = this.#asked.get(target);
    if (known !== undefined) return known;
    if (target.length > MOST_LENGTH) return undefined;
    const name = narIn(target);
    if (name === undefined) return undefined;
    if (this.#asked.size >= MOST_TARGETS) this.#asked.clear();
    const asked = { name, key: keyOf(name) };
    this.#asked.set(target, asked);
    return asked;
  }

  /** `open`: whether anybody may read it. */
  ready({ key, name }: Asked, open: boolean): ReadyNar | undefined {
    const ready = this.#cache.readyNar(name, key);
    if (ready === undefined) return undefined;
    const { body, meta } = ready;
    const heads = open ? this.#heads.open : this.#heads.closed;
    let head = heads.get(meta);
    if (head === undefined) {
      head = headOf(meta, open);
      heads.set(meta, head);
    }
    return { head, body };
  }
}

function narIn(target: string): NarFile | undefined {
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
