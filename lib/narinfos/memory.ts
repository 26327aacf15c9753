// Narinfos that are in the store, ready to be served from memory. What is in memory is believed to be still in the store for as long as
// the store says: others may change it there, as the command line does.
import { ByteLru } from '../bytes/byte-lru.ts';
import { isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Store } from '../store/store.ts';
import type { KnownNarInfo, ServedNarInfos } from './served-narinfos.ts';

interface Ready {
  readonly known: KnownNarInfo;
  readonly version: string;
  checkedAt: number;
  /** How long it is believed from then on that this is what the store has: a command may remove it there. */
  freshForMs: number;
  /** What {@link Memory.recheck} had counted to by then. */
  checks: number;
}

interface MemoryOptions {
  readonly store: Pick<Store, 'open' | 'version'>;
  readonly served: ServedNarInfos;
  readonly emit: Emit;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** About ten thousand narinfos. */
const MEMORY_BYTES = 20 << 20;

export class Memory {
  readonly #options: MemoryOptions;
  readonly #ready = new ByteLru<Ready>(MEMORY_BYTES);
  /** How often something in the store may have become another. */
  #changes = 0;
  #checks = 0;

  constructor(options: MemoryOptions) {
    this.#options = options;
  }

  /** The narinfo if it is here, or in the store. */
  async find(hash: StoreHash): Promise<KnownNarInfo | undefined> {
    const path = pathOf({ kind: 'narinfo', hash });
    const ready = this.#ready.get(path);
    if (ready !== undefined) {
      const { now, store } = this.#options;
      if (ready.checks === this.#checks && now() - ready.checkedAt < ready.freshForMs) return ready.known;
      const checks = this.#checks;
      const seen = await store.version(path);
      if (seen?.version === ready.version) {
        seen.used();
        ready.freshForMs = seen.freshForMs;
        ready.checkedAt = now();
        ready.checks = checks;
        return ready.known;
      }
      this.#ready.delete(path);
    }
    return this.#load(hash, path);
  }

  async #load(hash: StoreHash, path: string): Promise<KnownNarInfo | undefined> {
    const { emit, now, served, store } = this.#options;
    const changes = this.#changes;
    const object = await store.open(path);
    if (object === undefined) return undefined;
    object.used();
    try {
      const text = (await object.bytes()).toString();
      const known = served.know(hash, text, object.meta);
      // The narinfo may have been replaced since `open`.
      if (changes === this.#changes) {
        const { freshForMs, version } = object;
        const ready = { known, version, checkedAt: now(), freshForMs, checks: this.#checks };
        this.#ready.set(path, ready, 2 * text.length + 1000);
      }
      return known;
    } catch (error) {
      if (!isCacheError(error, 'damaged') && !isCacheError(error, 'invalid')) throw error;
      // An upstream may have a good one. One of unknown origin, which nobody checked, may have been wrong from the start.
      emit({ kind: 'narinfo-unusable', path, error });
      return undefined;
    }
  }

  /** It is another one in the store from now on, or none. */
  forget(hash: StoreHash): void {
    this.#changes++;
    this.#ready.delete(pathOf({ kind: 'narinfo', hash }));
  }

  /** What is served of the same narinfos is another from now on. */
  clear(): void {
    this.#changes++;
    this.#ready.clear();
  }

  /** From now on nothing here is believed before the store was asked. */
  recheck(): void {
    this.#changes++;
    this.#checks++;
  }
}
