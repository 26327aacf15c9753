// Narinfos: from memory, from the store, from the upstreams, in this order. What came from an upstream is kept as it
// was received and served with its URL replaced by an address of ours that carries the store hash, so that a NAR
// request always leads back to its narinfo, and by that to its upstream and its hashes.

import { ByteLru } from '../bytes/byte-lru.ts';
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Log } from '../log.ts';
import { withFileSize } from '../nix/narinfo.ts';
import { type NarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Store } from '../store/store.ts';
import { Exclusive } from '../sync/exclusive.ts';
import { type Flight, Flights } from '../sync/flights.ts';
import { Until } from '../sync/until.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { NOBODY, type Via, viaKey } from '../upstream/via.ts';
import { Keeping } from './keeping.ts';
import { Malformed } from './malformed.ts';
import { checkBelievable, readNarInfo } from './narinfo-text.ts';
import { type KnownNarInfo, ServedNarInfos, type Signing } from './served-narinfos.ts';

interface Ready {
  readonly known: KnownNarInfo;
  readonly version: string;
  checkedAt: number;
  /** How long it is believed from then on that this is what the store has: a command may remove it there. */
  freshForMs: number;
  /** What {@link NarInfos.recheck} had counted to by then. */
  checks: number;
}

/**
 * How long a NAR that nobody had is not believed to be anywhere: long enough for whoever asks next to be told so at once, or to be
 * given another upstream's narinfo, and no longer, for it may have been away for a moment only.
 */
const LOST_MS = 5000;
/** About ten thousand narinfos. */
const MEMORY_BYTES = 20 << 20;

interface NarInfosOptions {
  readonly store: Store;
  readonly upstreams: Upstreams;
  readonly storeDir: string;
  readonly log: Log;
  readonly signing: Signing;
  /** Ends lookups when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

export class NarInfos {
  /** Whoever replaces or deletes the narinfo of a path does it in a turn of its own. */
  readonly changing = new Exclusive();
  readonly served: ServedNarInfos;
  readonly #options: NarInfosOptions;
  readonly #ready = new ByteLru<Ready>(MEMORY_BYTES);
  /** How often {@link forget} and {@link recheck} were called. */
  #forgotten = 0;
  #checks = 0;
  /** By store hash, the NAR that no upstream had when it was asked for. */
  readonly #lost: Until<NarName>;
  readonly #malformed: Malformed;
  readonly #keeping: Keeping;
  readonly #lookups = new Flights<KnownNarInfo | undefined>();

  constructor(options: NarInfosOptions) {
    this.#options = options;
    this.#keeping = new Keeping(options.store, options.log);
    this.#lost = new Until(options.now, LOST_MS);
    this.#malformed = new Malformed(options.now);
    this.served = new ServedNarInfos(options);
  }

  /** From now on other things are signed, or by other keys. */
  reconfigure(signing: Signing): void {
    this.served.reconfigure(signing);
    this.#forgotten++;
    this.#ready.clear();
  }

  /** The narinfo if it is here, asking nobody else. */
  async local(hash: StoreHash): Promise<KnownNarInfo | undefined> {
    const path = pathOf({ kind: 'narinfo', hash });
    const ready = this.#ready.get(path);
    if (ready !== undefined) {
      const { now } = this.#options;
      if (ready.checks === this.#checks && now() - ready.checkedAt < ready.freshForMs) return ready.known;
      const checks = this.#checks;
      const seen = await this.#options.store.version(path);
      if (seen?.version === ready.version) {
        this.#options.store.used(path);
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
    const before = this.#forgotten;
    const object = await this.#options.store.open(path);
    if (object === undefined) return undefined;
    object.used();
    try {
      const text = (await object.bytes()).toString();
      const known = this.served.know(hash, text, object.meta);
      // The narinfo may have been replaced since `open`.
      if (before === this.#forgotten) {
        const checkedAt = this.#options.now();
        const { freshForMs, version } = object;
        const ready = { known, version, checkedAt, checks: this.#checks, freshForMs };
        this.#ready.set(path, ready, 2 * text.length + 1000);
      }
      return known;
    } catch (error) {
      if (!isCacheError(error, 'damaged') && !isCacheError(error, 'invalid')) throw error;
      // An upstream may have a good one. One of unknown origin, which nobody checked, may have been wrong from the start.
      this.#options.log.warn(`${path} in the store is not usable: ${describe(error)}`);
      return undefined;
    }
  }

  /**
   * The narinfo, from wherever it is had first; undefined if every upstream says that it has none. `via`: whom the request has
   * come through. It joins only those who came the same way: another lookup may be waiting for its answer.
   * @throws CacheError of the upstream that could not be asked, if none has it
   */
  async find(
    hash: StoreHash,
    via: Via = NOBODY,
  ): Promise<{ known: KnownNarInfo; how: 'hit' | 'miss' | 'joined' } | undefined> {
    const local = await this.local(hash);
    if (local !== undefined) return { known: local, how: 'hit' };
    const { value, joined } = await this.#lookups.join(viaKey(hash, via), () => this.#lookup(hash, via));
    if (value !== undefined) return { known: value, how: joined ? 'joined' : 'miss' };
    // The object may have been uploaded while the upstreams were asked.
    const late = await this.local(hash);
    return late && { known: late, how: 'hit' };
  }

  async #lookup(hash: StoreHash, via: Via): Promise<Flight<KnownNarInfo | undefined>> {
    // A lookup that ended since the caller looked may have stored it.
    const stored = await this.local(hash);
    if (stored !== undefined) return { value: stored, ended: Promise.resolve() };
    const { upstreams } = this.#options;
    // Caches that the request came through only said that they lack it so far, so the miss is not remembered.
    const path = via.length === 0 ? pathOf({ kind: 'narinfo', hash }) : undefined;
    const first = await upstreams.first(this.#candidates(hash, via), { kind: 'narinfo', path });
    const value = first.kind === 'found' ? first.value : undefined;
    // An upstream has the narinfo, but is not believed for some seconds: the miss must not last longer.
    if (value === undefined && path !== undefined && this.#lost.has(hash)) upstreams.misses.forget(path);
    const ended = value && this.#keeping.keep(hash, value.text, value.origin);
    return { value, ended: ended ?? Promise.resolve() };
  }

  #candidates(hash: StoreHash, via: Via = NOBODY) {
    return this.#options.upstreams.all.map((upstream) => ({
      upstream,
      ask: (over: AbortSignal, insist: boolean) => this.ask(upstream, hash, over, insist, via),
    }));
  }

  /** What that upstream has, without keeping it. */
  async ask(
    upstream: Upstream,
    hash: StoreHash,
    signal: AbortSignal,
    insist = false,
    via: Via = NOBODY,
  ): Promise<KnownNarInfo | undefined> {
    const url = upstream.resolve(`${hash}.narinfo`);
    const answer = await upstream.get(url, false, signal, { insist, via });
    if (answer === undefined) return undefined;
    const text = await readNarInfo(answer, url.href);
    try {
      const known = this.#knowWellFormed(hash, text, url, upstream);
      if (known === undefined) return undefined;
      checkBelievable(known.info, answer, upstream, this.#options.storeDir);
      return (await this.#isLost(known)) ? undefined : known;
    } catch (error) {
      throw new CacheError('upstream', `${url.href}: ${describe(error)}`, error);
    }
  }

  /**
   * Undefined if it has been malformed for seconds.
   * @throws CacheError `invalid`
   */
  #knowWellFormed(hash: StoreHash, text: string, url: URL, upstream: Upstream): KnownNarInfo | undefined {
    try {
      const known = this.served.know(hash, text, { origin: upstream.url });
      this.#malformed.forget(url.href);
      return known;
    } catch (error) {
      if (!isCacheError(error, 'invalid') || !this.#malformed.again(url.href)) throw error;
      this.#options.log.warn(`${url.href}: ${describe(error)}; it is so again, and counts as missing there`);
      return undefined;
    }
  }

  /** Whether nobody had its NAR a while ago, and it has not come into the store since. */
  async #isLost({ info, narName }: KnownNarInfo): Promise<boolean> {
    if (this.#lost.get(info.hashPart) !== narName) return false;
    const nar: ObjectName = { kind: 'nar', name: narName, hash: undefined };
    return (await this.#options.store.version(pathOf(nar))) === undefined;
  }

  /** When a lookup of it that is under way, if there is one, has put into the store what it found. */
  settled(hash: StoreHash): Promise<void> {
    return this.#lookups.settled(hash);
  }

  /**
   * Asks the upstreams anew for the narinfo of a NAR that none of them has, and takes over what they say now. `none` if
   * there is nothing to ask about: no narinfo from an upstream names it.
   * @throws CacheError of the upstream that could not be asked, if none has one
   */
  renew(hash: StoreHash, narName: NarName): Promise<'none' | 'same' | 'new'> {
    return this.changing.run(hash, async () => {
      await this.settled(hash);
      const known = await this.local(hash);
      if (known?.narName !== narName || known.origin === 'push') return 'none';
      const { store, upstreams } = this.#options;
      const first = await upstreams.first(this.#candidates(hash), { kind: 'narinfo', path: undefined });
      if (first.kind !== 'found') return 'same';
      const { text, origin } = first.value;
      if (text === known.text && origin === known.origin) return 'same';
      await store.delete(pathOf({ kind: 'narinfo', hash }));
      this.forget(hash);
      await this.#keeping.keep(hash, text, origin);
      return 'new';
    });
  }

  /**
   * No upstream has the NAR any more that the narinfo names. Unless that was pushed, it is dropped, and for a while not taken
   * from a mirror that keeps narinfos longer than NARs: so the next lookup is an honest miss, or finds another NAR.
   */
  lose(hash: StoreHash, narName: NarName): Promise<void> {
    return this.#drop(hash, narName, 'no upstream has it any more', () => this.#lost.set(hash, narName));
  }

  /** What could be had of the NAR contradicts the narinfo, which may be the one that is wrong: it is asked for anew. */
  doubt(hash: StoreHash, narName: NarName): Promise<void> {
    return this.#drop(hash, narName, 'what could be had is not what it says');
  }

  /** The NAR of a pushed narinfo is neither here nor anywhere: whoever is told that it is here would not push it again. */
  forsake(hash: StoreHash, narName: NarName): Promise<void> {
    return this.changing.run(hash, async () => {
      const { store } = this.#options;
      const known = await this.local(hash);
      if (known?.narName !== narName || known.origin !== 'push') return;
      // The NAR may have been pushed meanwhile.
      if (!(await store.isGone(pathOf({ kind: 'nar', name: narName, hash: undefined })))) return;
      await store.setAsideAs(pathOf({ kind: 'narinfo', hash }), `its NAR nar/${narName} is not here`);
      this.forget(hash);
    });
  }

  /** Its NAR is here and right, and has another size than the narinfo says: that is put right, where nobody has signed it. */
  resize(hash: StoreHash, narName: NarName, size: number): Promise<void> {
    return this.changing.run(hash, async () => {
      await this.settled(hash);
      const known = await this.local(hash);
      const said = known?.info.fileSize;
      if (known?.narName !== narName || known.origin === 'push' || said === undefined || said === size)
        return;
      await this.#keeping.keep(hash, withFileSize(known.text, size), known.origin, 'always');
      this.forget(hash);
    });
  }

  #drop(hash: StoreHash, narName: NarName, why: string, before = () => {}): Promise<void> {
    return this.changing.run(hash, async () => {
      // The narinfo may still be on its way into the store.
      await this.settled(hash);
      const known = await this.local(hash);
      if (known?.narName !== narName || known.origin === 'push') return;
      before();
      const path = pathOf({ kind: 'narinfo', hash });
      await this.#options.store.delete(path);
      this.forget(hash);
      this.#options.log.warn(`${path} is dropped; of nar/${narName}, ${why}`);
    });
  }

  /** Must be called when a narinfo was put into the store by somebody else. */
  forget(hash: StoreHash): void {
    this.#forgotten++;
    const path = pathOf({ kind: 'narinfo', hash });
    this.#ready.delete(path);
    this.#options.upstreams.misses.forget(path);
  }

  /** From now on nothing in memory is believed before it was looked at on the disk, where a command has removed something. */
  recheck(): void {
    this.#forgotten++;
    this.#checks++;
  }

  /** When no lookup is under way. */
  idle(): Promise<void> {
    return this.#lookups.idle();
  }
}
