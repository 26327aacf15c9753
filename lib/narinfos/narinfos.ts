// Narinfos: from memory, from the store, from the upstreams, in this order. What came from an upstream is kept as it
// was received and served with its URL replaced by an address of ours that carries the store hash, so that a NAR
// request always leads back to its narinfo, and by that to its upstream and its hashes.

import { setImmediate as immediate } from 'node:timers/promises';
import type { Emit } from '../events.ts';
import { withFileSize } from '../nix/narinfo.ts';
import { type NarName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Store } from '../store/store.ts';
import type { Ahead } from '../sync/ahead.ts';
import { Exclusive } from '../sync/exclusive.ts';
import { type Flight, Flights } from '../sync/flights.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { NOBODY, type Via, viaKey } from '../upstream/via.ts';
import { Keeping } from './keeping.ts';
import { Lookup } from './lookup.ts';
import { Memory } from './memory.ts';
import { type KnownNarInfo, ServedNarInfos, type Signing } from './served-narinfos.ts';

interface NarInfosOptions {
  readonly store: Store;
  readonly upstreams: Upstreams;
  readonly storeDir: string;
  readonly emit: Emit;
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
  readonly #memory: Memory;
  readonly #lookup: Lookup;
  readonly #keeping: Keeping;
  readonly #lookups = new Flights<KnownNarInfo | undefined>();
  /** By key, the lookups that nobody had asked for when they began, until they have an answer. */
  readonly #aheads = new Map<string, Ahead>();
  /** What upstreams have answered, on its way into the store: as good as there. */
  readonly #coming = new Map<StoreHash, KnownNarInfo>();
  #onFound: (known: KnownNarInfo) => void = () => {};

  constructor(options: NarInfosOptions) {
    this.#options = options;
    this.#keeping = new Keeping(options.store, options.emit);
    this.served = new ServedNarInfos(options);
    const { served } = this;
    this.#memory = new Memory({ ...options, served });
    this.#lookup = new Lookup({ ...options, served });
  }

  /** Has `onFound` told of each narinfo that an upstream has just answered with and that is believed. */
  watch(onFound: (known: KnownNarInfo) => void): void {
    this.#onFound = onFound;
  }

  /** From now on other things are signed, or by other keys. */
  reconfigure(signing: Signing): void {
    this.served.reconfigure(signing);
    this.#memory.clear();
    this.#coming.clear();
  }

  /** The narinfo if that is known without looking: it has just come, or is in memory. */
  here(hash: StoreHash): KnownNarInfo | undefined {
    const coming = this.#coming.get(hash);
    if (coming !== undefined) return coming;
    const ready = this.#memory.ready(pathOf({ kind: 'narinfo', hash }));
    return ready === 'absent' ? undefined : ready;
  }

  /**
   * What can be told at once of the narinfo with this path, as {@link find} would: it, or that it is missing; undefined if somebody must
   * be asked for that, and be it the store.
   */
  ready(path: string): KnownNarInfo | 'missing' | undefined {
    const ready = this.#memory.ready(path);
    if (ready !== 'absent') return ready;
    return this.#options.upstreams.misses.has(path) ? 'missing' : undefined;
  }

  /** The narinfo if it is here, asking nobody else. */
  local(hash: StoreHash): Promise<KnownNarInfo | undefined> {
    return this.#memory.find(hash);
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
    const coming = this.#coming.get(hash);
    if (coming !== undefined) return { known: coming, how: 'joined' };
    // One that is under way has looked in the store before it began; it may have come there since, while the upstreams say nothing.
    if (!this.#lookups.has(viaKey(hash, via)) || !this.#memory.isAbsent(hash)) {
      const local = await this.local(hash);
      if (local !== undefined) return { known: local, how: 'hit' };
    }
    // Nobody need be joined, nor the store be asked twice more, to be told what is remembered.
    if (
      via.length === 0 &&
      !this.#lookups.has(hash) &&
      this.#options.upstreams.misses.has(pathOf({ kind: 'narinfo', hash }))
    )
      return undefined;
    const { value, joined } = await this.#join(hash, via);
    if (value !== undefined) return { known: value, how: joined ? 'joined' : 'miss' };
    // The object may have been uploaded while the upstreams were asked.
    const late = await this.local(hash);
    return late && { known: late, how: 'hit' };
  }

  async #join(hash: StoreHash, via: Via): Promise<{ value: KnownNarInfo | undefined; joined: boolean }> {
    const key = viaKey(hash, via);
    const begin = () => this.#begin(hash, via);
    const ahead = this.#aheads.get(key);
    if (ahead === undefined) return this.#lookups.join(key, begin);
    ahead.wanted();
    // It may have given up what it would not have given up for somebody who waits.
    return this.#lookups.join(key, begin).catch((error) => {
      if (this.#options.signal.aborted) throw error;
      return this.#lookups.join(key, begin);
    });
  }

  /**
   * Looks it up before anybody asks. Undefined if it is here, on its way, or nobody has it; `kept`: when what was found is in the store.
   * @throws CacheError if it can't be had now
   */
  async findAhead(
    hash: StoreHash,
    ahead: Ahead,
  ): Promise<{ known: KnownNarInfo; kept: Promise<unknown> } | undefined> {
    const path = pathOf({ kind: 'narinfo', hash });
    if (this.#lookups.has(hash) || this.#options.upstreams.misses.has(path)) return undefined;
    let flight: Flight<KnownNarInfo | undefined> | undefined;
    const begin = async () => {
      this.#aheads.set(hash, ahead);
      try {
        flight = await this.#begin(hash, NOBODY, ahead);
        return flight;
      } finally {
        this.#aheads.delete(hash);
      }
    };
    const { value } = await this.#lookups.join(hash, begin);
    return value === undefined || flight === undefined ? undefined : { known: value, kept: flight.ended };
  }

  async #begin(hash: StoreHash, via: Via, ahead?: Ahead): Promise<Flight<KnownNarInfo | undefined>> {
    // A lookup that ended since the caller looked may have stored it, and then it is not taken for absent any more.
    const stored = this.#memory.isAbsent(hash) ? undefined : await this.local(hash);
    if (stored !== undefined) return { value: stored, ended: Promise.resolve() };
    // Those that the request came through have said only that they do not have it yet: that is nothing to remember.
    const path = via.length === 0 ? pathOf({ kind: 'narinfo', hash }) : undefined;
    const first = await this.#lookup.first(hash, via, path, ahead);
    if (first.kind !== 'found') return { value: undefined, ended: Promise.resolve() };
    const { value } = first;
    // A cache that asks us reads ahead itself.
    if (via.length === 0) this.#onFound(value);
    return { value, ended: this.#keepFound(hash, value) };
  }

  /** Whoever asks meanwhile need not look for it in the store. Never rejects. */
  async #keepFound(hash: StoreHash, known: KnownNarInfo): Promise<void> {
    this.#coming.set(hash, known);
    // Before the wait: what is served of it may be another from then on.
    const learn = this.#memory.learning();
    // Others that came with it are looked at first: whoever waits for them, and for what they lead to, waits for the line.
    await immediate();
    try {
      if ((await this.#keep(hash, known.text, known.origin)) === 'stored') await learn(hash, known);
    } catch {
      // It is read when somebody asks for it.
    } finally {
      if (this.#coming.get(hash) === known) this.#coming.delete(hash);
    }
  }

  /** What that upstream has, without keeping it. */
  ask(
    upstream: Upstream,
    hash: StoreHash,
    signal: AbortSignal,
    insist?: boolean,
    via?: Via,
  ): Promise<KnownNarInfo | undefined> {
    return this.#lookup.ask(upstream, hash, signal, { insist, via });
  }

  async #keep(
    hash: StoreHash,
    text: string,
    origin: string,
    when?: 'always',
  ): Promise<'stored' | 'exists' | 'unkept'> {
    const kept = await this.#keeping.keep(hash, text, origin, when);
    this.#memory.appeared(hash);
    return kept;
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
      const first = await this.#lookup.first(hash, NOBODY, undefined);
      if (first.kind !== 'found') return 'same';
      const { text, origin } = first.value;
      if (text === known.text && origin === known.origin) return 'same';
      await this.#options.store.delete(pathOf({ kind: 'narinfo', hash }));
      this.forget(hash);
      await this.#keep(hash, text, origin);
      return 'new';
    });
  }

  /**
   * No upstream has the NAR any more that the narinfo names. Unless that was pushed, it is dropped, and for a while not taken
   * from a mirror that keeps narinfos longer than NARs: so the next lookup is an honest miss, or finds another NAR.
   */
  lose(hash: StoreHash, narName: NarName): Promise<void> {
    return this.#drop(hash, narName, 'no upstream has it any more', () => this.#lookup.lose(hash, narName));
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
      await this.#keep(hash, withFileSize(known.text, size), known.origin, 'always');
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
      this.#options.emit({ kind: 'narinfo-dropped', path, nar: narName, why });
    });
  }

  /** Must be called when a narinfo was put into the store by somebody else. */
  forget(hash: StoreHash): void {
    this.#coming.delete(hash);
    this.#memory.forget(hash);
    this.#options.upstreams.misses.forget(pathOf({ kind: 'narinfo', hash }));
  }

  /** From now on nothing in memory is believed before it was looked at on the disk, where a command has removed something. */
  recheck(): void {
    this.#memory.recheck();
  }

  /** When no lookup is under way. */
  idle(): Promise<void> {
    return this.#lookups.idle();
  }
}
