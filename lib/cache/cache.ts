// The one question the service answers: where is this object? It is stored, or a download of it is under way and
// joined, or a download is started; whoever asked can't tell which.
import { piecesOf } from '../bytes/streams.ts';
import type { Fetcher } from '../download/fetcher.ts';
import { CacheError } from '../errors.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { archiveIn, MAX_INDEX_BYTES } from '../nix/debug-index.ts';
import { sha256ToHex } from '../nix/hash.ts';
import { isNameOf } from '../nix/nar-names.ts';
import { type ObjectName, pathOf, pathsOf } from '../nix/object-name.ts';
import { isRealisation } from '../nix/realisation.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { openPlain } from '../store/packed-files.ts';
import type { Storage } from '../store/storage.ts';
import type { ReadyBody, Store, StoredObject } from '../store/store.ts';
import { NOBODY, type Via } from '../upstream/via.ts';
import {
  type Found,
  foundInDownload,
  foundInMemory,
  foundInNarInfo,
  foundInStore,
  inMemory,
} from './found.ts';
import { isOther, type NarFile, type NarKey, Nars, type Opened, openFirst } from './nars.ts';
import { MAX_REALISATION_BYTES, signed, withSigs } from './realisations.ts';

/** How often an object that comes and goes is looked for before that is called a failure. */
const ATTEMPTS = 3;
type FileName = Exclude<ObjectName, { kind: 'narinfo' }>;

interface CacheOptions {
  readonly storage: Pick<Storage, 'scratch' | 'store'>;
  readonly narInfos: NarInfos;
  readonly fetcher: Fetcher;
  readonly now: () => number;
}

export class Cache {
  readonly #storage: Pick<Storage, 'scratch' | 'store'>;
  readonly #store: Store;
  readonly #narInfos: NarInfos;
  readonly #fetcher: Fetcher;
  readonly #nars: Nars;
  readonly #now: () => number;

  constructor({ fetcher, narInfos, now, storage }: CacheOptions) {
    this.#storage = storage;
    this.#store = storage.store;
    this.#narInfos = narInfos;
    this.#fetcher = fetcher;
    this.#now = now;
    this.#nars = new Nars({ storage, narInfos, now });
  }

  /**
   * The object, from wherever it can be had; undefined if it is nowhere. `via`: whom the request has come through; `gone`: what is
   * aborted when whoever asks has left.
   * @throws CacheError of the upstream that could not be asked, if none has it
   */
  async find(name: ObjectName, via: Via = NOBODY, gone?: () => AbortSignal): Promise<Found | undefined> {
    if (name.kind === 'narinfo') return this.#findNarInfo(name.hash, via);
    const found = await this.#findFile(name, via, gone);
    // A client that gets this 404 may ask for the narinfo at once, to push the path again.
    if (found === undefined && name.kind === 'nar') this.#nars.forget(name.name);
    if (found === undefined || name.kind !== 'debug-info') return found;
    return this.#unlessLost(found, (archive) => this.#isLost(archive, via));
  }

  /** What can be told at once of the narinfo with this path, as {@link find} would; undefined if that takes longer. */
  ready(path: string): KnownNarInfo | 'missing' | undefined {
    const ready = this.#narInfos.ready(path);
    if (typeof ready !== 'object' || ready.origin !== 'push') return ready;
    return this.#nars.isReady(ready.narName) ? ready : undefined;
  }

  /** A NAR at once, if that can be told: see {@link Nars.ready}. */
  readyFile(name: ObjectName): Found | undefined {
    const object = name.kind === 'nar' ? this.#nars.ready(name) : undefined;
    return object && foundInStore(object, undefined);
  }

  /** See {@link Nars.readyBody}. */
  readyNar(name: NarFile, key: NarKey): ReadyBody | undefined {
    return this.#nars.readyBody(name, key);
  }

  async #findNarInfo(hash: StoreHash, via: Via): Promise<Found | undefined> {
    const found = await this.#narInfos.find(hash, via);
    if (found?.known.origin !== 'push') return found && foundInMemory(found.known, found.how);
    const { known } = found;
    if (!this.#nars.wasSeen(known.narName)) {
      const now = this.#now();
      if (await this.#isLost({ kind: 'nar', name: known.narName, hash: undefined }, via)) {
        await this.#narInfos.forsake(hash, known.narName);
        // An upstream may have the path, with another NAR.
        const other = await this.#narInfos.find(hash, via);
        return other && foundInMemory(other.known, other.how);
      }
      this.#nars.saw(known.narName, now);
    }
    return foundInMemory(known, found.how);
  }

  /** Whether the NAR is neither here nor anywhere; where that can't be told, it is not so. */
  async #isLost(nar: NarFile, via: Via): Promise<boolean> {
    return !(await this.#nars.isHere(nar)) && this.#fetcher.lacks(nar, via);
  }

  /** An index of debug information, unless what it leads to `isLost`. */
  async #unlessLost(
    found: Found,
    isLost: (archive: NarFile) => Promise<boolean>,
  ): Promise<Found | undefined> {
    // A body that this Node can't decode is passed on as it is.
    if (found.coding !== undefined || (found.size ?? MAX_INDEX_BYTES) >= MAX_INDEX_BYTES) return found;
    const pieces: Buffer[] = [];
    for await (const piece of piecesOf(found.open(0, found.size))) pieces.push(Buffer.from(piece));
    const body = Buffer.concat(pieces);
    const archive = archiveIn(body.toString());
    return archive !== undefined && (await isLost(archive)) ? undefined : { ...found, ...inMemory(body) };
  }

  async #findFile(name: FileName, via: Via, gone?: () => AbortSignal): Promise<Found | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const isOnItsWay = attempt === 0 && this.#fetcher.isOnItsWay(name);
      const stored = isOnItsWay ? undefined : await this.#stored(name);
      if (stored !== undefined) return stored;
      const { value, joined } = await this.#fetcher.fetch(name, via, gone?.());
      // The object may have been uploaded while the upstreams were asked.
      if (value === undefined) return this.#stored(name);
      const held = value === 'stored' ? undefined : value.hold();
      if (value !== 'stored' && held !== undefined) {
        const found = foundInDownload(value, held, name.kind, joined ? 'joined' : 'miss');
        const isToSign = isRealisation(name) && this.#narInfos.served.signsAll && found.coding === undefined;
        if (!isToSign) return found;
        // The origin is known when all of it is.
        return signed(this.#narInfos.served, name, found, () => value.origin);
      }
      // The download is storing its file, or its beginning: the next attempt must find that. A download that bypasses a full disk
      // can't be joined any more.
      if (value !== 'stored' && !value.isPassing) await value.ended;
      // By now the object is in the store; or it was, or could not be kept, and is fetched again.
    }
    throw new CacheError('storage', `${pathOf(name)} does not stay in the store`);
  }

  /**
   * Whether clients have lately seen wrong bytes of it, and been cut: what they ask for behind these fits nothing they have. They
   * take it for gone when they are told so, and go on elsewhere.
   */
  hasMisled(name: ObjectName): boolean {
    return name.kind !== 'narinfo' && this.#fetcher.hasMisled(name);
  }

  /** The object if it is here and whole; nobody else is asked. Of a NAR that is named without its store path, the file of that hash. */
  async local(name: ObjectName): Promise<Found | undefined> {
    if (name.kind === 'nar' && name.hash === undefined) {
      const stored = await openPlain(this.#storage, pathOf(name));
      stored?.object.used();
      return stored && foundInStore(stored.object, stored.coding);
    }
    if (name.kind !== 'narinfo') return this.#stored(name);
    const known = await this.#narInfos.local(name.hash);
    return known && foundInMemory(known, 'hit');
  }

  /**
   * What the narinfo says of a NAR that is asked for by the address in it, for whoever wants no more; it may not be here yet.
   * @throws CacheError of the upstream that could not be asked for the narinfo
   */
  async announced(name: ObjectName, via: Via = NOBODY): Promise<Found | undefined> {
    if (name.kind !== 'nar' || name.hash === undefined) return undefined;
    const found = await this.#narInfos.find(name.hash, via);
    // The NAR of a pushed path is here, or nowhere.
    if (found === undefined || found.known.origin === 'push' || !isNameOf(name.name, found.known))
      return undefined;
    return foundInNarInfo(found.known.info);
  }

  /** The object if it was pushed: the cache as it would be without its upstreams. */
  async pushed(name: ObjectName): Promise<Found | undefined> {
    if (name.kind === 'narinfo') {
      const known = await this.#narInfos.local(name.hash);
      if (known?.origin !== 'push') return undefined;
      // If its NAR was set aside as damaged, only another push can replace it, and clients push only what they get a 404 for.
      const nar = await this.#store.version(pathOf({ kind: 'nar', name: known.narName, hash: undefined }));
      return nar === undefined ? undefined : foundInMemory(known, 'hit');
    }
    const stored = await this.#open(name);
    if (stored === undefined) return undefined;
    if (stored.object.meta.origin === 'push') {
      const found = await this.#found(name, stored);
      if (name.kind !== 'debug-info') return found;
      return this.#unlessLost(found, (archive) => this.#store.isGone(pathOf(archive)));
    }
    await stored.object.close();
    return undefined;
  }

  async #stored(name: FileName): Promise<Found | undefined> {
    const stored = await this.#open(name);
    if (stored === undefined) return undefined;
    if (name.kind === 'nar' && (await this.#isOther(name, stored.object))) return undefined;
    return this.#found(name, stored);
  }

  /** See {@link isOther}. It is set aside then. */
  async #isOther({ hash }: NarFile, object: StoredObject): Promise<boolean> {
    const { origin, path, sha256 } = object.meta;
    if (origin !== 'unknown' || hash === undefined || sha256 === undefined) return false;
    const info = (this.#narInfos.here(hash) ?? (await this.#narInfos.local(hash)))?.info;
    if (info?.fileHash === undefined || !isOther(object.meta, info)) return false;
    await object.close();
    const said = sha256ToHex(info.fileHash);
    await this.#store.setAsideAs(path, `its SHA-256 is ${sha256}, its narinfo says ${said}`);
    return true;
  }

  async #found(name: FileName, { object, coding }: Opened): Promise<Found> {
    const stored = foundInStore(object, coding);
    const { origin, size } = object.meta;
    if (!isRealisation(name) || coding !== undefined || size > MAX_REALISATION_BYTES) return stored;
    return withSigs(this.#narInfos.served, name, stored, { bytes: await object.bytes(), origin });
  }

  /** Of a log whose derivation has a `?` in its name also under the name that a client tells of it. */
  #open(name: FileName): Promise<Opened | undefined> {
    return name.kind === 'nar' ? this.#nars.open(name) : openFirst(this.#storage, pathsOf(name));
  }

  /** When nothing is being fetched. */
  async idle(): Promise<void> {
    await Promise.all([this.#narInfos.idle(), this.#fetcher.idle()]);
  }
}
