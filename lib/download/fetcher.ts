// Gets what the store lacks: finds out who may have it, starts one download of it, and lets everybody who asks
// meanwhile join that.
import { setTimeout as delay } from 'node:timers/promises';
import type { Config, Deadlines } from '../config/config.ts';
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import { isNameOf } from '../nix/nar-names.ts';
import { type NarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Scratch } from '../store/scratch.ts';
import type { Store } from '../store/store.ts';
import { type Ahead, isAhead } from '../sync/ahead.ts';
import type { Flight } from '../sync/flights.ts';
import { Until } from '../sync/until.ts';
import type { Nobody, Upstreams } from '../upstream/upstreams.ts';
import { NOBODY, type Via, viaKey } from '../upstream/via.ts';
import { Crowd } from './crowd.ts';
import { Destinations, pathsFor } from './destination.ts';
import { Download } from './download.ts';
import { askedAhead, givingWay } from './giving-way.ts';
import { NarSources } from './nar-sources.ts';
import { Reputation } from './reputation.ts';
import type { Wanted } from './sources.ts';
import { Starter } from './starter.ts';
import { Turns } from './turns.ts';

type FileName = Exclude<ObjectName, { kind: 'narinfo' }>;
type NarFile = Extract<ObjectName, { kind: 'nar' }>;
type Fetched = Download | 'stored' | undefined;

/** A NAR turned out to be stored under another name than it was asked for by. */
interface Elsewhere {
  readonly name: NarName;
}

export interface FetcherOptions {
  readonly store: Store;
  readonly scratch: Scratch;
  readonly upstreams: Upstreams;
  readonly narInfos: NarInfos;
  readonly emit: Emit;
  /** Ends downloads when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
  readonly deadlines: Pick<Deadlines, 'firstByteMs' | 'returnMs'>;
  readonly connections: Config['connections'];
  readonly maxDownloads: Config['maxDownloads'];
  readonly maxSpoolBytes: Config['maxSpoolBytes'];
}

/** How long a NAR that somebody has is not asked for again before an index that leads to it is served. */
const THERE_MS = 10 * 60_000;
/** No look in the store is older than that when it comes to a download. */
const ENDED_MS = 60_000;
/** How long it is believed that the store has none of what is being fetched. */
const ABSENT_MS = 1000;
/** After how long what everybody lacks is asked for once more. */
const RETURN_MS = 1000;

export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #narSources: NarSources;
  readonly #starter: Starter;
  readonly #destinations: Destinations;
  readonly #turns: Turns;
  readonly #crowd: Crowd<Fetched | Elsewhere>;
  /** By path, those that nobody had asked for when they began, until they have ended. */
  readonly #aheads = new Map<string, Ahead>();
  /** Paths of NARs that somebody was found to have. */
  readonly #there: Until;
  /** Paths of which a download has ended since anybody may have looked in the store. */
  readonly #ended: Until;
  /** Paths that the store was seen to lack a moment ago. */
  readonly #absent: Until;

  constructor(options: FetcherOptions) {
    const { connections, deadlines, emit, narInfos, now, scratch, signal, store, upstreams } = options;
    this.#options = options;
    this.#there = new Until(now, THERE_MS);
    this.#ended = new Until(now, ENDED_MS);
    this.#absent = new Until(now, ABSENT_MS);
    this.#turns = new Turns(options.maxDownloads, options.maxSpoolBytes);
    this.#crowd = new Crowd({
      graceMs: deadlines.firstByteMs,
      signal,
      shared: [...this.#turns.all, ...upstreams.all.map(({ largeSlots }) => largeSlots)],
    });
    this.#narSources = new NarSources(upstreams, narInfos, emit);
    this.#destinations = new Destinations({ store, narInfos, emit, now });
    this.#starter = new Starter({
      ...{ upstreams, scratch, destinations: this.#destinations, reputation: new Reputation(now) },
      ...{ emit, signal, connections, returnMs: deadlines.returnMs },
    });
  }

  /**
   * A download of the object, begun or joined; `stored` if it has just come into the store; undefined if every
   * upstream says that it has no such thing. `via`: whom the request has come through; `gone`: aborted when whoever asks has
   * left.
   * @throws CacheError of the upstream that could not be asked, if none has it
   */
  async fetch(
    asked: FileName,
    via: Via = NOBODY,
    gone?: AbortSignal,
  ): Promise<{ value: Fetched; joined: boolean }> {
    let name = this.#known(asked);
    for (;;) {
      // A download for a request through other caches may wait for this very answer, so only those that came the same way are joined;
      // a download that waits for no cache of our kind is joined by all.
      const path = pathOf(name);
      const key = viaKey(path, via);
      const running = this.#crowd.has(key) ? undefined : this.#crowd.fromOutside(path);
      const ahead = key === path || running !== undefined ? this.#aheads.get(path) : undefined;
      ahead?.wanted();
      if (running !== undefined) return this.#joined(path, running);
      // The download may have been begun with less knowledge: only a NAR's store hash leads to its narinfo.
      const mayKnowMore = name.kind === 'nar' && name.hash !== undefined && this.#crowd.has(key);
      try {
        const begin = (wanted: AbortSignal) => this.#begin(name, via, wanted);
        const { joined, value } = await this.#crowd.join(key, gone, begin);
        if (name.kind === 'nar' && isElsewhere(value)) name = { ...name, name: value.name };
        else if (!isElsewhere(value) && (value !== undefined || !mayKnowMore))
          return joined ? this.#joined(path, value) : { value, joined };
      } catch (error) {
        // All other clients had left just when this one came.
        const wasLeft = isCacheError(error, 'aborted') && gone !== undefined && !gone.aborted;
        // What nobody waited for was given up before its time.
        const wasAhead = ahead !== undefined && this.#aheads.delete(path);
        if (!(mayKnowMore || wasLeft || wasAhead) || this.#options.signal.aborted) throw error;
      }
    }
  }

  /** Whether it is on its way, and was looked for in the store a moment ago, so that nobody need do that again. */
  isOnItsWay(asked: FileName): boolean {
    const path = pathOf(this.#known(asked));
    if (!this.#absent.has(path)) return false;
    return this.#crowd.has(path) || this.#crowd.fromOutside(path) !== undefined;
  }

  /** The store has it from now on, whoever waits for it. */
  appeared(path: string): void {
    this.#absent.forget(path);
  }

  /** By the name under which it is stored, if that can be told at once. */
  #known(name: FileName): FileName {
    if (name.kind !== 'nar' || name.hash === undefined) return name;
    const known = this.#options.narInfos.here(name.hash);
    return known !== undefined && isNameOf(name.name, known) ? { ...name, name: known.narName } : name;
  }

  /**
   * Fetches a NAR before anybody asks for it, unless it is here or on its way. Resolves when that has ended, with the bytes that have
   * come of it; undefined if none have. `quit`: aborted when nobody will ask any more. Never rejects.
   */
  async fetchAhead(name: NarFile, ahead: Ahead, quit: AbortSignal): Promise<number | undefined> {
    const path = pathOf(name);
    if (this.#crowd.has(path) || this.#crowd.isRunning(path)) return undefined;
    this.#aheads.set(path, ahead);
    try {
      const begin = (wanted: AbortSignal) => this.#begin(name, NOBODY, wanted, ahead);
      const { joined, value } = await this.#crowd.join(path, quit, begin, 0);
      if (joined || !(value instanceof Download)) return undefined;
      // Nobody reads it: from now on it gives way to whoever is waited for.
      value.hold()?.close();
      const giveUp = () => value.quit();
      quit.addEventListener('abort', giveUp, { once: true });
      await value.ended;
      quit.removeEventListener('abort', giveUp);
      return value.failure === undefined ? value.size : undefined;
    } catch {
      return undefined;
    } finally {
      if (this.#aheads.get(path) === ahead) this.#aheads.delete(path);
    }
  }

  #joined(path: string, value: Fetched): { value: Fetched; joined: boolean } {
    if (value instanceof Download) this.#options.emit({ kind: 'download-joined', path });
    return { value, joined: true };
  }

  async #begin(
    name: FileName,
    via: Via,
    wanted: AbortSignal,
    ahead?: Ahead,
  ): Promise<Flight<Fetched | Elsewhere>> {
    const ended = Promise.resolve();
    // Wait until the download before has kept what it got.
    await this.#crowd.over(pathOf(name));
    if (await this.#isStored(name, ahead === undefined)) return { value: 'stored', ended };
    this.#absent.add(pathOf(name));
    for (let again = false; ; again = true) {
      const download = await this.#admitted(name, via, wanted, ahead);
      if (isElsewhere(download)) return { value: download, ended };
      if (download instanceof Download) {
        void download.ended.then(() => this.#ended.add(pathOf(name)));
        return { value: await this.#shown(download, wanted), ended: download.ended };
      }
      // Whoever asks for it finds out what that means.
      if (isAhead(ahead)) throw new CacheError('aborted', `${pathOf(name)}: nobody has asked for it`);
      if (download.kind === 'missing' && name.kind === 'nar' && name.hash !== undefined) {
        if (!again && (await this.#mayReturn(name.hash, name.name))) continue;
        await this.#lose(name.hash, name.name);
      }
      return { value: undefined, ended };
    }
  }

  /** What must be known to be right before somebody sees it is waited for, unless the disk takes nothing of it. */
  async #shown(download: Download, wanted: AbortSignal): Promise<Download | 'stored'> {
    const held = download.isSuspect ? download.hold() : undefined;
    if (held === undefined) return download;
    try {
      const left = new Promise<void>((resolve) =>
        wanted.addEventListener('abort', () => resolve(), { once: true }),
      );
      await Promise.race([download.ended, download.passing, left]);
    } finally {
      held.close();
    }
    if (download.failure !== undefined) throw download.failure;
    return download.isPassing || wanted.aborted ? download : 'stored';
  }

  async #admitted(
    name: FileName,
    via: Via,
    isWanted: AbortSignal,
    ahead: Ahead | undefined,
  ): Promise<Download | Nobody | Elsewhere> {
    let started = () => {};
    const starting = () => {
      started = this.#crowd.starting();
    };
    const forget = isAhead(ahead) ? ahead.whenWanted(starting) : starting();
    try {
      return await this.#admit(name, via, isWanted, ahead);
    } finally {
      forget?.();
      started();
    }
  }

  async #admit(
    name: FileName,
    via: Via,
    isWanted: AbortSignal,
    ahead: Ahead | undefined,
  ): Promise<Download | Nobody | Elsewhere> {
    const path = pathOf(name);
    let wanted: Wanted;
    if (name.kind === 'nar') {
      const found = await this.#narSources.forNar(name.name, name.hash, via);
      if (found.name !== name.name) return { name: found.name };
      wanted = found;
    } else wanted = await this.#narSources.forFile(name, via);
    const signal = isAhead(ahead) ? isWanted : this.#options.signal;
    const release = await this.#turns.take(wanted.expected, name.kind === 'nar', signal, ahead);
    const place = this.#crowd.place(viaKey(path, via), path);
    const started = ahead === undefined ? undefined : givingWay(this.#crowd, path, ahead, isWanted);
    const occasion = { via, isWanted: started?.signal ?? isWanted, place, ahead };
    const asked = ahead === undefined ? wanted : askedAhead(wanted, ahead);
    const download = await this.#starter
      .start(name, asked, occasion)
      .finally(() => started?.end())
      .catch((error) => {
        release();
        throw error;
      });
    if (download instanceof Download) this.#crowd.add(path, download, release);
    else release();
    return download;
  }

  /**
   * Nobody has the NAR that this narinfo names. That may be so for a moment only, or the narinfo be out of date: it is asked for
   * again, and after a while the NAR is worth another question. False if there is no narinfo that could say otherwise.
   */
  async #mayReturn(hash: StoreHash, narName: NarName): Promise<boolean> {
    const { narInfos, signal } = this.#options;
    const asked = await narInfos.renew(hash, narName).catch((error) => {
      if (!isCacheError(error, 'storage')) throw error;
      return 'same' as const;
    });
    if (asked === 'same') await delay(RETURN_MS, undefined, { signal });
    return asked !== 'none';
  }

  /** Whoever has looked knows that it is not, but for what a download has stored since; who has not knows its name there. */
  async #isStored(name: FileName, isLooked: boolean): Promise<boolean> {
    const { store } = this.#options;
    if (!isLooked) return (await store.version(pathOf(name))) !== undefined;
    const paths = pathsFor(name);
    if (!paths.some((path) => this.#ended.has(path))) return false;
    for (const path of paths) if ((await store.version(path)) !== undefined) return true;
    return false;
  }

  /** It is missing all the same if its narinfo can't be dropped. */
  async #lose(hash: StoreHash, narName: NarName): Promise<void> {
    const { emit, narInfos } = this.#options;
    await narInfos
      .lose(hash, narName)
      .catch((error) => emit({ kind: 'notice', level: 'warn', text: describe(error) }));
  }

  /**
   * Whether everybody who could have the NAR says that there is none; where that can't be told, it is not so. Nothing is fetched.
   * @throws CacheError `aborted` when the service stops
   */
  async lacks(name: FileName & { kind: 'nar' }, via: Via = NOBODY): Promise<boolean> {
    const path = pathOf(name);
    if (this.#there.has(path) || pathsFor(name).some((one) => this.#crowd.isRunning(one))) return false;
    try {
      const wanted = await this.#narSources.forNar(name.name, name.hash, via);
      const found = await this.#starter.look(wanted, via);
      if (found === 'found') this.#there.add(path);
      return found === 'missing';
    } catch (error) {
      if (!isCacheError(error) || this.#options.signal.aborted) throw error;
      return false;
    }
  }

  /** See {@link Destinations.hasMisled}. */
  hasMisled(name: FileName): boolean {
    return this.#destinations.hasMisled(name);
  }

  /** When no download is under way. */
  async idle(): Promise<void> {
    await this.#crowd.idle();
  }
}

function isElsewhere(value: Fetched | Nobody | Elsewhere): value is Elsewhere {
  return typeof value === 'object' && 'name' in value;
}
