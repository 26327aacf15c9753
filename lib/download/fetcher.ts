// Gets what the store lacks: finds out who may have it, starts one download of it, and lets everybody who asks
// meanwhile join that.
import { CacheError, describe } from '../errors.ts';
import type { Log } from '../log.ts';
import { hashInNarName, type NarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { ObjectMeta, Spool, Store } from '../store/store.ts';
import type { Answer, Upstream } from '../upstream/upstream.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { type Arrived, Download, type Expected } from './download.ts';
import { type Flight, Flights } from './flights.ts';
import type { KnownNarInfo, NarInfos } from './narinfos.ts';

/** One place that may have the body. */
interface Source {
  readonly upstream: Upstream;
  readonly url: URL;
}

interface Wanted {
  readonly sources: readonly Source[];
  readonly expected: Expected;
  readonly narHash: string | undefined;
}

const NOTHING_EXPECTED: Expected = { fileHash: undefined, fileSize: undefined };

export interface FetcherOptions {
  readonly store: Store;
  readonly upstreams: Upstreams;
  readonly narInfos: NarInfos;
  readonly log: Log;
  /** Ends downloads when the service stops. */
  readonly signal: AbortSignal;
}

export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #downloads = new Flights<Download | 'stored' | undefined>();

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  /**
   * A download of the object, begun or joined; `stored` if it has just come into the store; undefined if every
   * upstream says that it has no such thing.
   * @throws CacheError of the upstream that could not be asked, if none has it
   */
  fetch(name: Exclude<ObjectName, { kind: 'narinfo' }>): Promise<{
    value: Download | 'stored' | undefined;
    joined: boolean;
  }> {
    const path = pathOf(name);
    return this.#downloads.join(path, async (): Promise<Flight<Download | 'stored' | undefined>> => {
      const ended = Promise.resolve();
      // A download that ended since the caller looked has stored it.
      if ((await this.#options.store.version(path)) !== undefined) return { value: 'stored', ended };
      const wanted = name.kind === 'nar' ? await this.#wantNar(name.name, name.hash) : this.#wantPath(path);
      const download = await this.#start(name, wanted);
      return { value: download, ended: download?.ended ?? ended };
    });
  }

  async #start(name: ObjectName, wanted: Wanted): Promise<Download | undefined> {
    const { signal, store, upstreams } = this.#options;
    const large = name.kind === 'nar';
    const candidates = wanted.sources.map(({ upstream, url }) => ({
      upstream,
      ask: async () => {
        const answer = await upstream.get(url, large, signal);
        if (answer !== undefined) checkSize(answer, large, wanted.expected, url);
        return answer && { answer, upstream, url };
      },
    }));
    const found = await upstreams.first(candidates, { path: large ? undefined : pathOf(name), hedge: false });
    if (found === undefined) return undefined;
    const { answer, upstream, url } = found;
    const spool = await store.spool().catch((error) => {
      answer.body.destroy();
      throw error;
    });
    return new Download(answer, spool, wanted.expected, url.href, (outcome) => {
      const { narHash } = wanted;
      return this.#keep(
        spool,
        { path: pathOf(name), kind: name.kind, origin: upstream.url, narHash },
        outcome,
      );
    });
  }

  /** The narinfo leads to the NAR; without one, and beside it, the same path may be there at any upstream. */
  async #wantNar(name: NarName, hash: StoreHash | undefined): Promise<Wanted> {
    const byPath = this.#wantPath(`/nar/${name}`);
    const promised = hashInNarName(name);
    const expected = { fileHash: promised, fileSize: undefined };
    const known = hash === undefined ? undefined : await this.#narInfo(hash);
    if (known === undefined || known.narName !== name) return { ...byPath, expected };
    const { info, origin } = known;
    const upstream = this.#options.upstreams.byOrigin(origin);
    const own = upstream === undefined ? [] : [{ upstream, url: upstream.resolve(info.url) }];
    // Only a name that is a hash means the same bytes everywhere.
    const others = promised === undefined && own.length > 0 ? [] : byPath.sources;
    const same = (source: Source) => own.some(({ url }) => url.href === source.url.href);
    return {
      sources: [...own, ...others.filter((source) => !same(source))],
      expected: {
        fileHash: info.fileHash ?? (info.compression === 'none' ? info.narHash : undefined) ?? promised,
        fileSize: info.fileSize ?? (info.compression === 'none' ? info.narSize : undefined),
      },
      narHash: `sha256:${info.narHash}`,
    };
  }

  async #narInfo(hash: StoreHash): Promise<KnownNarInfo | undefined> {
    try {
      return (await this.#options.narInfos.find(hash))?.known;
    } catch (error) {
      this.#options.log.warn(`narinfo of ${hash} can't be had, trying its NAR by path: ${describe(error)}`);
      return undefined;
    }
  }

  #wantPath(path: string): Wanted {
    // The one character of our names that a URL would take for something else.
    const reference = path.slice(1).replaceAll('?', '%3F');
    const sources = this.#options.upstreams.all.map((upstream) => ({
      upstream,
      url: upstream.resolve(reference),
    }));
    return { sources, expected: NOTHING_EXPECTED, narHash: undefined };
  }

  async #keep(
    spool: Spool,
    meta: Pick<ObjectMeta, 'path' | 'kind' | 'origin' | 'narHash'>,
    outcome: Arrived | Error,
  ): Promise<void> {
    const { log, store } = this.#options;
    try {
      if (outcome instanceof Error) throw outcome;
      await store.put(
        spool,
        { ...meta, ...outcome, storedAt: new Date() },
        { existing: 'keep', durable: false },
      );
    } catch (error) {
      log.warn(`${meta.path} was not kept: ${describe(error)}`);
    }
  }

  /** When no download is under way. */
  idle(): Promise<void> {
    return this.#downloads.idle();
  }
}

/** What can be said against a body before its first byte. */
function checkSize(answer: Answer, isNar: boolean, expected: Expected, url: URL): void {
  const size = answer.size ?? expected.fileSize;
  // Nothing of an empty body could be held back until its hash is known to be wrong.
  const empty = isNar && size === 0;
  if (!empty && (expected.fileSize === undefined || size === expected.fileSize)) return;
  answer.body.destroy();
  const wanted = expected.fileSize === undefined ? 'a NAR' : `${expected.fileSize} bytes as its narinfo says`;
  throw new CacheError('upstream', `${url.href}: has ${size} bytes, expected ${wanted}`);
}
