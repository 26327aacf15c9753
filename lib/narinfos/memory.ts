// Narinfos that are in the store, ready to be served from memory, and names of which the store has none. What is in memory is believed
// for as long as the store says: others may change it there, as the command line does.
import { ByteLru } from '../bytes/byte-lru.ts';
import { isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Seen as Found, Store } from '../store/store.ts';
import { isDue, Renewing } from '../sync/renewing.ts';
import type { KnownNarInfo, ServedNarInfos } from './served-narinfos.ts';

interface Seen {
  /** Undefined if the store had none. */
  readonly known: KnownNarInfo | undefined;
  readonly version: string | undefined;
  seenAt: number;
  /** How long it is believed from then on that this is what the store has: a command may remove it there, or another put it there. */
  freshForMs: number;
  /** What {@link Memory.recheck} had counted to by then. */
  checks: number;
}

interface MemoryOptions {
  readonly store: Pick<Store, 'open' | 'version' | 'versionNow'>;
  readonly served: ServedNarInfos;
  readonly emit: Emit;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** About ten thousand narinfos. */
const MEMORY_BYTES = 20 << 20;
/** Of which the store has none: clients ask for many that nobody has. */
const MOST_ABSENT = 20_000;
/** What was looked at so long ago may be looked at again at once. */
const LATELY_MS = 30_000;
/** How long it is believed that the store has none. */
const ABSENT_MS = 1000;

export class Memory {
  readonly #options: MemoryOptions;
  readonly #present = new ByteLru<Seen>(MEMORY_BYTES);
  readonly #absent = new ByteLru<Seen>(MOST_ABSENT);
  readonly #renewing = new Renewing((path) => this.#renew(path));
  /** Whether the store could be looked at without a wait when that was last tried: then nothing need be looked at beforehand. */
  #canLookNow = false;
  /** How often something in the store may have become another. */
  #changes = 0;
  /** How often something may have come into it. */
  #arrivals = 0;
  #checks = 0;

  constructor(options: MemoryOptions) {
    this.#options = options;
  }

  /** What can be told at once of the narinfo with this path: it, or `absent` from the store; undefined if the store must be asked. */
  ready(path: string): KnownNarInfo | 'absent' | undefined {
    const seen = this.#present.get(path) ?? this.#absent.get(path);
    if (seen === undefined || seen.checks !== this.#checks) return undefined;
    const age = this.#options.now() - seen.seenAt;
    const { freshForMs } = seen;
    if (age >= freshForMs) {
      if (!this.#isStillNow(path, seen, age)) return undefined;
    } else if (!this.#canLookNow && isDue(age, freshForMs)) this.#renewing.asked(path);
    return seen.known ?? 'absent';
  }

  /** As {@link #isStill} without a wait, where that can be told. */
  #isStillNow(path: string, seen: Seen, age: number): boolean {
    const { now, store } = this.#options;
    if (age >= LATELY_MS) return false;
    const seenAt = now();
    const found = store.versionNow(path);
    this.#canLookNow = found !== undefined;
    return found !== undefined && this.#compare(path, seen, found === 'none' ? undefined : found, seenAt);
  }

  /** The narinfo if it is here, or in the store. */
  async find(hash: StoreHash): Promise<KnownNarInfo | undefined> {
    const path = pathOf({ kind: 'narinfo', hash });
    const seen = this.#present.get(path);
    if (seen?.known === undefined) return this.#load(hash, path);
    const age = this.#options.now() - seen.seenAt;
    if (seen.checks === this.#checks && (age < seen.freshForMs || this.#isStillNow(path, seen, age)))
      return seen.known;
    return (await this.#isStill(path, seen)) ? seen.known : this.#load(hash, path);
  }

  /** Whether the store was seen to have none a moment ago. */
  isAbsent(hash: StoreHash): boolean {
    const seen = this.#absent.get(pathOf({ kind: 'narinfo', hash }));
    return (
      seen !== undefined &&
      seen.checks === this.#checks &&
      this.#options.now() - seen.seenAt < seen.freshForMs
    );
  }

  /** Looks at the store: whether it has what it had, which is then believed for another while; else that is forgotten. */
  async #isStill(path: string, seen: Seen): Promise<boolean> {
    const { now, store } = this.#options;
    const [checks, seenAt] = [this.#checks, now()];
    const isStill = this.#compare(path, seen, await store.version(path), seenAt);
    if (isStill) seen.checks = checks;
    return isStill;
  }

  /** Whether what was `found` is what it was; else it is not believed any more. */
  #compare(path: string, seen: Seen, found: Found | undefined, seenAt: number): boolean {
    if (found?.version !== seen.version) {
      const memory = seen.known === undefined ? this.#absent : this.#present;
      if (memory.get(path) === seen) memory.delete(path);
      return false;
    }
    found?.used();
    seen.freshForMs = found?.freshForMs ?? ABSENT_MS;
    seen.seenAt = seenAt;
    return true;
  }

  async #renew(path: string): Promise<void> {
    const seen = this.#present.get(path) ?? this.#absent.get(path);
    if (seen !== undefined) await this.#isStill(path, seen);
  }

  /**
   * Something is about to be stored; what is answered takes it over when that is done, unless something may be another by then, so
   * that nobody need read it.
   */
  learning(): (hash: StoreHash, known: KnownNarInfo) => Promise<void> {
    const changes = this.#changes;
    return async (hash, known) => {
      // What is served as it was stored tells since when it is here, as only its file knows.
      if (known.served === known.text) return;
      const path = pathOf({ kind: 'narinfo', hash });
      const then = { seenAt: this.#options.now(), checks: this.#checks };
      // It was put there a moment ago.
      const found = await versionSoon(this.#options.store, path);
      if (found === undefined || changes !== this.#changes) return;
      const { freshForMs, version } = found;
      this.#present.set(path, { known, version, freshForMs, ...then }, 2 * known.text.length + 1000);
    };
  }

  async #load(hash: StoreHash, path: string): Promise<KnownNarInfo | undefined> {
    const { emit, now, served, store } = this.#options;
    const [arrivals, changes] = [this.#arrivals, this.#changes];
    const then = { seenAt: now(), checks: this.#checks };
    const object = await store.open(path);
    if (object === undefined) {
      const none = { known: undefined, version: undefined, freshForMs: ABSENT_MS };
      if (arrivals === this.#arrivals && changes === this.#changes)
        this.#absent.set(path, { ...none, ...then }, 1);
      return undefined;
    }
    object.used();
    try {
      const text = (await object.bytes()).toString();
      const known = served.know(hash, text, object.meta);
      const { freshForMs, version } = object;
      // The narinfo may have been replaced since `open`.
      if (changes === this.#changes)
        this.#present.set(path, { known, version, freshForMs, ...then }, 2 * text.length + 1000);
      return known;
    } catch (error) {
      if (!isCacheError(error, 'damaged') && !isCacheError(error, 'invalid')) throw error;
      // An upstream may have a good one. One of unknown origin, which nobody checked, may have been wrong from the start.
      emit({ kind: 'narinfo-unusable', path, error });
      return undefined;
    }
  }

  /** The store has one from now on, if it had none. */
  appeared(hash: StoreHash): void {
    this.#arrivals++;
    this.#absent.delete(pathOf({ kind: 'narinfo', hash }));
  }

  /** It is another one in the store from now on, or none, or one where none was. */
  forget(hash: StoreHash): void {
    this.#changes++;
    const path = pathOf({ kind: 'narinfo', hash });
    this.#present.delete(path);
    this.#absent.delete(path);
  }

  /** What is served of the same narinfos is another from now on. */
  clear(): void {
    this.#changes++;
    this.#present.clear();
  }

  /** From now on nothing here is believed before the store was asked. */
  recheck(): void {
    this.#changes++;
    this.#checks++;
  }
}

/** Of what is there, or was a moment ago: at once, where that can be told. */
async function versionSoon(
  store: Pick<Store, 'version' | 'versionNow'>,
  path: string,
): Promise<Found | undefined> {
  const now = store.versionNow(path) ?? (await store.version(path));
  return now === 'none' ? undefined : now;
}
