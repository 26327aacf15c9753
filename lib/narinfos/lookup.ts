// What upstreams say to the question for a narinfo, and whether that is believed: it must be well formed, fit the question, be signed
// where that is wanted, and name a NAR that was not missing everywhere a moment ago.
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { type NarName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Store } from '../store/store.ts';
import type { Ahead } from '../sync/ahead.ts';
import { Until } from '../sync/until.ts';
import type { Manner, Upstream } from '../upstream/upstream.ts';
import type { First, Upstreams } from '../upstream/upstreams.ts';
import type { Via } from '../upstream/via.ts';
import { Malformed } from './malformed.ts';
import { checkBelievable, readNarInfo } from './narinfo-text.ts';
import type { KnownNarInfo, ServedNarInfos } from './served-narinfos.ts';

interface LookupOptions {
  readonly store: Pick<Store, 'version'>;
  readonly upstreams: Upstreams;
  readonly storeDir: string;
  readonly served: ServedNarInfos;
  readonly emit: Emit;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/**
 * How long a NAR that nobody had is not believed to be anywhere: long enough for whoever asks next to be told so at once, or to be
 * given another upstream's narinfo, and no longer, for it may have been away for a moment only.
 */
const LOST_MS = 5000;

export class Lookup {
  readonly #options: LookupOptions;
  /** By store hash, the NAR that no upstream had when it was asked for. */
  readonly #lost: Until<NarName>;
  readonly #malformed: Malformed;

  constructor(options: LookupOptions) {
    this.#options = options;
    this.#lost = new Until(options.now, LOST_MS);
    this.#malformed = new Malformed(options.now);
  }

  /**
   * What the upstreams have, in their order. `path`: under which a miss is remembered, if it is to be; `ahead`: of a lookup that nobody
   * has asked for.
   * @throws CacheError of the upstream that could not be asked, if none has it
   */
  async first(
    hash: StoreHash,
    via: Via,
    path: string | undefined,
    ahead?: Ahead,
  ): Promise<First<KnownNarInfo>> {
    const { upstreams } = this.#options;
    const candidates = upstreams.all.map((upstream) => ({
      upstream,
      ask: (over: AbortSignal, insist: boolean) => this.ask(upstream, hash, over, { insist, via, ahead }),
    }));
    const first = await upstreams.first(candidates, { kind: 'narinfo', path, ahead });
    // Somebody has it, and is not believed for some seconds: the miss must not outlast them.
    if (first.kind !== 'found' && path !== undefined && this.#lost.has(hash)) upstreams.misses.forget(path);
    return first;
  }

  /** What that upstream has. */
  async ask(
    upstream: Upstream,
    hash: StoreHash,
    signal: AbortSignal,
    how: Pick<Manner, 'ahead' | 'insist' | 'via'> = {},
  ): Promise<KnownNarInfo | undefined> {
    const url = upstream.resolve(`${hash}.narinfo`);
    const answer = await upstream.get(url, false, signal, how);
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
    const { emit, served } = this.#options;
    try {
      const known = served.know(hash, text, { origin: upstream.url });
      this.#malformed.forget(url.href);
      return known;
    } catch (error) {
      if (!isCacheError(error, 'invalid') || !this.#malformed.again(url.href)) throw error;
      emit({ kind: 'narinfo-malformed', url: url.href, error });
      return undefined;
    }
  }

  /** Whether nobody had its NAR a while ago, and it has not come into the store since. */
  async #isLost({ info, narName }: KnownNarInfo): Promise<boolean> {
    if (this.#lost.get(info.hashPart) !== narName) return false;
    const nar = pathOf({ kind: 'nar', name: narName, hash: undefined });
    return (await this.#options.store.version(nar)) === undefined;
  }

  /** No upstream has that NAR: for a while none is believed that names it for that path. */
  lose(hash: StoreHash, narName: NarName): void {
    this.#lost.set(hash, narName);
  }
}
