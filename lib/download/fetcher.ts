// Gets what the store lacks: finds out who may have it, starts one download of it, and lets everybody who asks
// meanwhile join that.
import { setTimeout as delay } from 'node:timers/promises';
import type { Config, Deadlines } from '../config/config.ts';
import { describe, isCacheError } from '../errors.ts';
import { type Log, warnSeldom } from '../log.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import { type NarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Scratch } from '../store/scratch.ts';
import type { Store } from '../store/store.ts';
import type { Flight } from '../sync/flights.ts';
import { Until } from '../sync/until.ts';
import type { Part } from '../upstream/answer.ts';
import type { Nobody, Upstreams } from '../upstream/upstreams.ts';
import { NOBODY, type Via, viaKey } from '../upstream/via.ts';
import { KeptBeginnings } from './beginnings.ts';
import { Crowd } from './crowd.ts';
import { keptAs, pathsFor } from './destination.ts';
import { Download } from './download.ts';
import { firstAnswer } from './first-answer.ts';
import { NarSources, type Wanted } from './nar-sources.ts';
import type { Source } from './sources.ts';
import { Turns } from './turns.ts';
import { canTell, sizedBy } from './verify.ts';

type FileName = Exclude<ObjectName, { kind: 'narinfo' }>;
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
  readonly log: Log;
  /** Ends downloads when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
  readonly deadlines: Pick<Deadlines, 'firstByteMs' | 'returnMs'>;
  /** Connections for one NAR. */
  readonly connections: number;
  /** See {@link Config}. */
  readonly maxDownloads: number;
  readonly maxSpoolBytes: number;
}

/** Bodies above this may be worth several connections. */
const LARGE_BYTES = 8 << 20;
/** Of a large body the first request asks for so much: it shows whether the source answers ranges. */
const FIRST_BYTES = 1 << 20;
/** How long a NAR that somebody has is not asked for again before an index that leads to it is served. */
const THERE_MS = 10 * 60_000;
/** How long a source that sent wrong bytes is asked last. */
const BLAME_MS = 10 * 60_000;
/** How long a source that sent bytes of a body can't say that it has no such thing. */
const GAVE_MS = 60_000;
/** How long clients that have seen wrong bytes may come back for the rest. */
const MISLED_MS = 60_000;
/** After how long what everybody lacks is asked for once more. */
const RETURN_MS = 1000;

export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #narSources: NarSources;
  readonly #beginnings: KeptBeginnings;
  readonly #turns: Turns;
  readonly #crowd: Crowd<Fetched | Elsewhere>;
  /** Sources that sent wrong bytes, by their labels. */
  readonly #blamed: Until;
  /** Sources that sent bytes of what broke off. */
  readonly #gave: Until;
  /** Paths of NARs that somebody was found to have. */
  readonly #there: Until;
  /** Paths of which readers have seen wrong bytes. */
  readonly #misled: Until;
  readonly #warnDisk: ReturnType<typeof warnSeldom>;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#warnDisk = warnSeldom(options.log);
    this.#blamed = new Until(options.now, BLAME_MS);
    this.#gave = new Until(options.now, GAVE_MS);
    this.#there = new Until(options.now, THERE_MS);
    this.#misled = new Until(options.now, MISLED_MS);
    this.#turns = new Turns(options.maxDownloads, options.maxSpoolBytes);
    const connections = options.upstreams.all.map(({ largeSlots }) => largeSlots);
    this.#crowd = new Crowd({
      graceMs: options.deadlines.firstByteMs,
      signal: options.signal,
      shared: [...this.#turns.all, ...connections],
    });
    this.#beginnings = new KeptBeginnings(options.scratch, options.log);
    this.#narSources = new NarSources(options.upstreams, options.narInfos, options.log);
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
    let name = asked;
    for (;;) {
      // Whoever came another way may be waiting for what we answer, unless it is on its way from elsewhere already.
      const key = viaKey(pathOf(name), via);
      const running = this.#crowd.has(key) ? undefined : this.#crowd.fromOutside(pathOf(name));
      if (running !== undefined) return { value: running, joined: true };
      // Who began it may have known less than we do: only a NAR's store hash leads to its narinfo.
      const mayKnowMore = name.kind === 'nar' && name.hash !== undefined && this.#crowd.has(key);
      try {
        const begin = (wanted: AbortSignal) => this.#begin(name, via, wanted);
        const { joined, value } = await this.#crowd.join(key, gone, begin);
        if (name.kind === 'nar' && isElsewhere(value)) name = { ...name, name: value.name };
        else if (!isElsewhere(value) && (value !== undefined || !mayKnowMore)) return { value, joined };
      } catch (error) {
        // All others had left just when this one came.
        const wasLeft = isCacheError(error, 'aborted') && gone !== undefined && !gone.aborted;
        if (!(mayKnowMore || wasLeft) || this.#options.signal.aborted) throw error;
      }
    }
  }

  async #begin(name: FileName, via: Via, wanted: AbortSignal): Promise<Flight<Fetched | Elsewhere>> {
    const ended = Promise.resolve();
    // What the one before has got is kept by then.
    await this.#crowd.over(pathOf(name));
    // A download that ended since the caller looked has stored it.
    if (await this.#isStored(name)) return { value: 'stored', ended };
    for (let again = false; ; again = true) {
      const download = await this.#admitted(name, via, wanted);
      if (isElsewhere(download)) return { value: download, ended };
      if (download instanceof Download)
        return { value: await this.#shown(download, wanted), ended: download.ended };
      const isLost = download.kind === 'missing' && name.kind === 'nar' && name.hash !== undefined;
      if (isLost && !again && (await this.#mayReturn(name.hash, name.name))) continue;
      // It is missing all the same if its narinfo can't be dropped.
      if (isLost) await this.#dropped((narInfos) => narInfos.lose(name.hash as StoreHash, name.name));
      return { value: undefined, ended };
    }
  }

  /** What must be known to be right before somebody sees it is waited for, unless the disk takes nothing of it. */
  async #shown(download: Download, wanted: AbortSignal): Promise<Download | 'stored'> {
    if (!download.isSuspect || !download.hold()) return download;
    try {
      const left = new Promise<void>((resolve) =>
        wanted.addEventListener('abort', () => resolve(), { once: true }),
      );
      await Promise.race([download.ended, download.passing, left]);
    } finally {
      download.release();
    }
    if (download.failure !== undefined) throw download.failure;
    return download.isPassing || wanted.aborted ? download : 'stored';
  }

  async #admitted(name: FileName, via: Via, isWanted: AbortSignal): Promise<Download | Nobody | Elsewhere> {
    const started = this.#crowd.starting();
    try {
      return await this.#admit(name, via, isWanted);
    } finally {
      started();
    }
  }

  async #admit(name: FileName, via: Via, isWanted: AbortSignal): Promise<Download | Nobody | Elsewhere> {
    const path = pathOf(name);
    let wanted: Wanted;
    if (name.kind === 'nar') {
      const found = await this.#narSources.forNar(name.name, name.hash, via);
      if (found.name !== name.name) return { name: found.name };
      wanted = found;
    } else wanted = await this.#narSources.forFile(name, via);
    const release = await this.#turns.take(wanted.expected, this.#options.signal);
    const download = await this.#start(name, wanted, via, isWanted).catch((error) => {
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

  async #isStored(name: FileName): Promise<boolean> {
    for (const path of pathsFor(name))
      if ((await this.#options.store.version(path)) !== undefined) return true;
    return false;
  }

  async #start(
    name: ObjectName,
    { sources: all, expected: told }: Wanted,
    via: Via,
    isWanted: AbortSignal,
  ): Promise<Download | Nobody> {
    const { connections, deadlines, log, scratch, signal, store, upstreams } = this.#options;
    const path = pathOf(name);
    const isNar = name.kind === 'nar';
    const isBlamed = ({ label }: Source) => Number(this.#blamed.has(label));
    const sources = [...all].sort((a, b) => isBlamed(a) - isBlamed(b));
    const taken = await this.#beginnings.take(path, told);
    const begunBefore = taken?.length ?? 0;
    // A first request of a part is for bodies that may be fetched in parts: the size must be known for that, and a hash
    // that tells if the parts are of one file.
    const size = told.fileHash === undefined ? 0 : (told.fileSize ?? 0);
    const mayBeInParts = connections > 1 && size - begunBefore > LARGE_BYTES;
    const end = mayBeInParts ? begunBefore + FIRST_BYTES : undefined;
    const part: Part | undefined = mayBeInParts || begunBefore > 0 ? { start: begunBefore, end } : undefined;
    const doubt = () => this.#doubt(name);
    const first = await firstAnswer(
      { sources, isNar, path: isNar || isUncertain(name) ? undefined : path, expected: told, part, via },
      { upstreams, log, signal: isWanted, unfit: doubt, gaveLately: ({ label }) => this.#gave.has(label) },
    ).catch(async (error) => {
      await this.#beginnings.putBack(path, told, taken);
      throw error;
    });
    const here = first.kind === 'found' ? first.value : undefined;
    const isSuspect = here?.sized !== undefined;
    if (here === undefined || isSuspect) await this.#beginnings.putBack(path, told, taken);
    if (first.kind !== 'found') return first;
    const { answer, source } = first.value;
    const expected = isSuspect ? { ...told, fileSize: undefined } : sizedBy(answer, told);
    const partial = isSuspect ? undefined : taken;
    const begun = partial?.length ?? 0;
    const inParts = mayBeInParts && !isSuspect;
    const key = viaKey(path, via);
    return new Download(
      {
        ...{ path, expected, first: first.value, log, signal, unfit: doubt },
        // Another may have it packed otherwise.
        sources: answer.coding === undefined ? sources : [source],
        connections: inParts ? connections : 1,
        returnMs: deadlines.returnMs,
        spool: () => scratch.spool(),
        warnDisk: (message) => this.#warnDisk('disk', message),
        beginnings: scratch,
        passing: () => this.#crowd.leave(key, path),
        ending: () => this.#crowd.end(key, path),
        abandoned: () => this.#crowd.look(),
        misled: () => this.#misled.add(path),
        blame: ({ label }) => this.#blamed.add(label),
        gave: ({ label }) => this.#gave.add(label),
        keep: async (whole, arrived, origin) => {
          const kept = keptAs(name, expected, arrived);
          // It may have been cut off, and nobody would ever know.
          const isWhole = answer.delimited || expected.fileSize !== undefined || canTell(expected);
          if (kept === undefined || !isWhole) return;
          const { sha256, size } = arrived;
          const meta = { ...kept, kind: name.kind, origin, storedAt: new Date(), size, sha256 };
          await store.put(whole, meta, { when: 'absent', durable: false });
          const isSizeWrong = told.fileSize !== undefined && told.fileSize !== size;
          if (isSizeWrong && name.kind === 'nar' && name.hash !== undefined)
            await this.#options.narInfos.resize(name.hash, name.name, size);
        },
      },
      partial?.spool ?? scratch.spool(),
      begun,
    );
  }

  /** Nobody has a NAR as its narinfo describes it. */
  async #doubt(name: ObjectName): Promise<void> {
    if (name.kind !== 'nar' || name.hash === undefined) return;
    const { hash, name: narName } = name;
    await this.#dropped((narInfos) => narInfos.doubt(hash, narName));
  }

  /** Drops a narinfo, or says that it can't be. */
  #dropped(drop: (narInfos: NarInfos) => Promise<void>): Promise<void> {
    const { log, narInfos } = this.#options;
    return drop(narInfos).catch((error) => log.warn(describe(error)));
  }

  /**
   * Whether everybody who could have the NAR says that there is none; where that can't be told, it is not so. Nothing is fetched.
   * @throws CacheError `aborted` when the service stops
   */
  async lacks(name: FileName & { kind: 'nar' }, via: Via = NOBODY): Promise<boolean> {
    const { log, signal, upstreams } = this.#options;
    const path = pathOf(name);
    if (this.#there.has(path) || pathsFor(name).some((one) => this.#crowd.isRunning(one))) return false;
    try {
      const { expected, sources } = await this.#narSources.forNar(name.name, name.hash, via);
      const first = await firstAnswer(
        // Not as patiently as whoever wants it.
        { sources, isNar: false, path: undefined, expected, part: { start: 0, end: 1 }, via },
        { upstreams, log, signal, unfit: async () => {}, gaveLately: ({ label }) => this.#gave.has(label) },
      );
      if (first.kind !== 'found') return first.kind === 'missing';
      first.value.answer.body.destroy();
      this.#there.add(path);
      return false;
    } catch (error) {
      if (!isCacheError(error) || signal.aborted) throw error;
      return false;
    }
  }

  /** Whether clients have lately seen wrong bytes of it, so that what they ask for now may be meant to go behind those. */
  hasMisled(name: FileName): boolean {
    return pathsFor(name).some((path) => this.#misled.has(path));
  }

  /** When no download is under way. */
  async idle(): Promise<void> {
    await this.#crowd.idle();
  }
}

/** Whether others may have it under a name that this request does not tell. */
function isUncertain(name: ObjectName): boolean {
  return name.kind === 'log' && !name.drv.endsWith('.drv');
}

function isElsewhere(value: Fetched | Nobody | Elsewhere): value is Elsewhere {
  return typeof value === 'object' && 'name' in value;
}
