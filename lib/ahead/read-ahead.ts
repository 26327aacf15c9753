// What is fetched before a client asks for it, because of what clients ask. All of it takes only what is idle, and whoever waits goes
// before it.
import { ByteLru } from '../bytes/byte-lru.ts';
import type { Config } from '../config/config.ts';
import type { Fetcher } from '../download/fetcher.ts';
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import type { ObjectName } from '../nix/object-name.ts';
import { hashPartOf, type StoreHash } from '../nix/store-path.ts';
import type { Storage } from '../store/storage.ts';
import type { After } from '../sync/within.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import type { Expected } from './batch.ts';
import { NarInfosAhead } from './narinfos-ahead.ts';
import { NarsAhead, type WhenOver } from './nars-ahead.ts';
import { Room } from './room.ts';

interface ReadAheadOptions extends Pick<Config, 'gc' | 'readAhead'> {
  readonly storage: Pick<Storage, 'scratch' | 'upkeep'>;
  readonly narInfos: NarInfos;
  readonly fetcher: Fetcher;
  readonly upstreams: Upstreams;
  readonly emit: Emit;
  /** Ends it when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

type NarFile = Extract<ObjectName, { kind: 'nar' }>;

/** Of what narinfos said that have just come, which may be on their way into the store. */
const RECENT_BYTES = 16 << 20;

export class ReadAhead {
  readonly #options: ReadAheadOptions;
  readonly #narInfos: NarInfosAhead | undefined;
  readonly #nars: NarsAhead | undefined;
  readonly #recent = new ByteLru<Expected>(RECENT_BYTES);

  constructor(options: ReadAheadOptions) {
    this.#options = options;
    const { gc, readAhead, storage, upstreams } = options;
    if (readAhead === 'off' || upstreams.all.length === 0) return;
    const narInfos = new NarInfosAhead(options);
    this.#narInfos = narInfos;
    options.narInfos.watch((known) => {
      const { hash, references } = this.#note(known);
      narInfos.follow(hash, references);
    });
    if (readAhead === 'narinfos') return;
    const room = new Room({ ...storage, gc, now: options.now });
    this.#nars = new NarsAhead({ ...options, room, after, expected: (hash) => this.#expected(hash) });
  }

  /** A client asks for the narinfo. `client`: who that is, if it can be told from others, and wants it for itself. */
  narInfoAsked(hash: StoreHash, client: string | undefined): void {
    this.#narInfos?.asked(hash);
    if (client !== undefined) this.#nars?.narInfoAsked(client, hash);
  }

  /** The client asks for the NAR. */
  narAsked({ hash }: NarFile, client: string | undefined, whenOver: WhenOver): void {
    if (hash !== undefined) this.#nars?.narAsked(client, hash, whenOver);
  }

  #note(known: KnownNarInfo): Expected {
    const expected = expectedOf(known);
    if (this.#options.readAhead === 'all')
      this.#recent.set(expected.hash, expected, 2 * known.text.length + 500);
    return expected;
  }

  async #expected(hash: StoreHash): Promise<Expected | undefined> {
    const recent = this.#recent.get(hash);
    if (recent !== undefined) return recent;
    const known = await this.#options.narInfos.local(hash);
    // The NAR of a pushed path is here, or nowhere.
    return known === undefined || known.origin === 'push' ? undefined : expectedOf(known);
  }
}

function expectedOf({ info, narName }: KnownNarInfo): Expected {
  return {
    hash: info.hashPart,
    name: info.storePath.slice(info.storePath.indexOf(info.hashPart) + info.hashPart.length + 1),
    references: info.references.map(hashPartOf),
    narName,
    bytes: info.fileSize ?? info.narSize,
  };
}

/** A process that has nothing else to do need not wait for it. */
const after: After = (ms, run) => {
  const timer = setTimeout(run, ms).unref();
  return () => clearTimeout(timer);
};
