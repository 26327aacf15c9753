// Gets what the store lacks: finds out who may have it, starts one download of it, and lets everybody who asks
// meanwhile join that.
import type { Config } from '../config.ts';
import { describe } from '../errors.ts';
import { type Log, warnSeldom } from '../log.ts';
import { sha256ToHex } from '../nix/hash.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import type { Spool, Store } from '../store/store.ts';
import type { Part } from '../upstream/answer.ts';
import { Slots } from '../upstream/slots.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { NOBODY, type Via, viaKey } from '../upstream/via.ts';
import { Download } from './download.ts';
import { firstAnswer } from './first-answer.ts';
import { type Flight, Flights } from './flights.ts';
import { canTell, NarSources, type Wanted } from './nar-sources.ts';
import type { NarInfos } from './narinfos.ts';
import type { Source } from './sources.ts';
import type { Expected } from './verify.ts';

type FileName = Exclude<ObjectName, { kind: 'narinfo' }>;

/** What is there already of a body. */
interface Begun {
  readonly spool: Spool;
  readonly length: number;
}

export interface FetcherOptions {
  readonly store: Store;
  readonly upstreams: Upstreams;
  readonly narInfos: NarInfos;
  readonly log: Log;
  /** Ends downloads when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
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
/** How long a source that sent wrong bytes is asked last. */
const BLAME_MS = 10 * 60_000;
const MAX_BLAMED = 10_000;

export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #narSources: NarSources;
  readonly #slots: Slots;
  /** Bytes. */
  readonly #room: Slots;
  readonly #downloads = new Flights<Download | 'stored' | undefined>();
  /** By path; of several of one path the last. */
  readonly #running = new Map<string, Download>();
  /** Until when: by the label of the source. */
  readonly #blamed = new Map<string, number>();
  readonly #warnDisk: ReturnType<typeof warnSeldom>;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#warnDisk = warnSeldom(options.log);
    this.#slots = new Slots(options.maxDownloads);
    this.#room = new Slots(options.maxSpoolBytes);
    this.#narSources = new NarSources(options.upstreams, options.narInfos, options.log);
  }

  /**
   * A download of the object, begun or joined; `stored` if it has just come into the store; undefined if every
   * upstream says that it has no such thing. `via`: whom the request has come through.
   * @throws CacheError of the upstream that could not be asked, if none has it
   */
  async fetch(
    name: FileName,
    via: Via = NOBODY,
  ): Promise<{ value: Download | 'stored' | undefined; joined: boolean }> {
    // Whoever came another way may be waiting for what we answer, unless it is on its way from elsewhere already.
    const path = viaKey(pathOf(name), via);
    for (;;) {
      const running = this.#running.get(pathOf(name));
      if (!this.#downloads.has(path) && running?.isFromOutside) return { value: running, joined: true };
      // Who began it may have known less than we do: only a NAR's store hash leads to its narinfo.
      const mayKnowMore = name.kind === 'nar' && name.hash !== undefined && this.#downloads.has(path);
      try {
        const result = await this.#downloads.join(path, () => this.#begin(name, via));
        if (result.value !== undefined || !mayKnowMore) return result;
      } catch (error) {
        if (!mayKnowMore || this.#options.signal.aborted) throw error;
      }
    }
  }

  async #begin(name: FileName, via: Via): Promise<Flight<Download | 'stored' | undefined>> {
    const path = pathOf(name);
    const ended = Promise.resolve();
    // A download that ended since the caller looked has stored it.
    if ((await this.#options.store.version(path)) !== undefined) return { value: 'stored', ended };
    const sources = this.#narSources;
    const wanted =
      name.kind === 'nar' ? await sources.forNar(name.name, name.hash, via) : sources.forPath(path, via);
    const release = await this.#admit(wanted.expected);
    const download = await this.#start(name, wanted, via).catch((error) => {
      release();
      throw error;
    });
    if (download === undefined) release();
    else {
      this.#running.set(path, download);
      download.ended.finally(() => {
        release();
        if (this.#running.get(path) === download) this.#running.delete(path);
      });
    }
    return { value: download, ended: download?.ended ?? ended };
  }

  /** Waits for a turn, and for room; what is answered gives both back. */
  async #admit({ fileSize, nar }: Expected): Promise<() => void> {
    const { signal } = this.#options;
    const leave = await this.#slots.acquire(signal);
    // Asked for later, it would keep an upstream waiting, which has a right to give up.
    const leaveRoom = await this.#room.acquire(signal, fileSize ?? nar?.narSize ?? 0).catch((error) => {
      leave();
      throw error;
    });
    return () => {
      leave();
      leaveRoom();
    };
  }

  async #start(
    name: ObjectName,
    { sources: all, expected }: Wanted,
    via: Via,
  ): Promise<Download | undefined> {
    const { connections, log, narInfos, signal, store, upstreams } = this.#options;
    const path = pathOf(name);
    const isNar = name.kind === 'nar';
    const sources = [...all].sort((a, b) => this.#isBlamed(a) - this.#isBlamed(b));
    const partial = await this.#takePartial(path, expected);
    const begun = partial?.length ?? 0;
    // A first request of a part is for bodies that may be fetched in parts: the size must be known for that, and a hash
    // that tells if the parts are of one file.
    const size = expected.fileHash === undefined ? 0 : (expected.fileSize ?? 0);
    const inParts = connections > 1 && size - begun > LARGE_BYTES;
    const end = inParts ? begun + FIRST_BYTES : undefined;
    const part: Part | undefined = inParts || begun > 0 ? { start: begun, end } : undefined;
    const doubt = () => this.#doubt(name);
    const first = await firstAnswer(
      { sources, path: isNar ? undefined : path, expected, part, via },
      { upstreams, log, signal, unfit: doubt },
    ).catch(async (error) => {
      await this.#putBack(path, expected, partial);
      throw error;
    });
    if (first.kind === 'missing') {
      await this.#putBack(path, expected, partial);
      if (first.sure && isNar && name.hash !== undefined) {
        // It is missing all the same if its narinfo can't be dropped.
        await narInfos.lose(name.hash, name.name).catch((error) => log.warn(describe(error)));
      }
      return undefined;
    }
    return new Download(
      {
        ...{ path, expected, sources, first, log, signal, unfit: doubt },
        connections: inParts ? connections : 1,
        spool: () => store.spool(),
        warnDisk: (message) => this.#warnDisk('disk', message),
        beginnings: store,
        passing: () => {
          this.#downloads.drop(viaKey(path, via));
          this.#running.delete(path);
        },
        blame: (source) => this.#blame(source),
        keep: async (whole, { size, sha256 }, origin) => {
          // It may have been cut off, and nobody would ever know.
          const { delimited } = first.answer;
          if (!delimited && expected.fileSize === undefined && !canTell(expected)) return;
          const narHash = expected.nar && `sha256:${expected.nar.narHash}`;
          const meta = { path, kind: name.kind, origin, storedAt: new Date(), size, sha256, narHash };
          await store.put(whole, meta, { existing: 'keep', durable: false });
        },
      },
      partial?.spool ?? store.spool(),
      begun,
    );
  }

  /** Nobody has a NAR as its narinfo describes it. */
  async #doubt(name: ObjectName): Promise<void> {
    if (name.kind !== 'nar' || name.hash === undefined) return;
    const { log, narInfos } = this.#options;
    await narInfos.doubt(name.hash, name.name).catch((error) => log.warn(describe(error)));
  }

  /** What a stop of the service left of it, if a hash can tell whether it is right. */
  async #takePartial(path: string, { fileHash, fileSize: size }: Expected): Promise<Begun | undefined> {
    if (fileHash === undefined || size === undefined) return undefined;
    const { log, store } = this.#options;
    const taken = await store.takePartial({ path, size, sha256: sha256ToHex(fileHash) });
    if (taken !== undefined) log.info(`${path} is continued from byte ${taken.length} of ${size}`);
    return taken;
  }

  /** Nobody can continue it now; somebody may later. */
  async #putBack(
    path: string,
    { fileHash, fileSize: size }: Expected,
    partial: Begun | undefined,
  ): Promise<void> {
    if (partial === undefined || fileHash === undefined || size === undefined) return;
    const { length, spool } = partial;
    await this.#options.store.keepPartial(spool, { path, size, sha256: sha256ToHex(fileHash), length });
    await spool.close();
  }

  #blame(source: Source): void {
    if (this.#blamed.size >= MAX_BLAMED) this.#blamed.clear();
    this.#blamed.set(source.label, this.#options.now() + BLAME_MS);
  }

  #isBlamed(source: Source): 0 | 1 {
    return (this.#blamed.get(source.label) ?? Number.NEGATIVE_INFINITY) > this.#options.now() ? 1 : 0;
  }

  /** When no download is under way. */
  idle(): Promise<void> {
    return this.#downloads.idle();
  }
}
