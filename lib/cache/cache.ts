// The one question the service answers: where is this object? It is stored, or a download of it is under way and
// joined, or a download is started; whoever asked can't tell which.
import { createHash } from 'node:crypto';
import { atMost, piecesOf, type Reader, readerOf } from '../bytes/streams.ts';
import type { Download } from '../download/download.ts';
import type { Fetcher } from '../download/fetcher.ts';
import type { Held } from '../download/growing.ts';
import { CacheError } from '../errors.ts';
import type { How } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { archiveIn, MAX_INDEX_BYTES } from '../nix/debug-index.ts';
import { sha256ToHex } from '../nix/hash.ts';
import { fixesBytes, isNameOf, namesFor, nixNarName } from '../nix/nar-names.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import {
  mimeOf,
  type NarName,
  type ObjectKind,
  type ObjectName,
  pathOf,
  pathsOf,
} from '../nix/object-name.ts';
import {
  isRealisation,
  parseRealisation,
  type RealisationName,
  withRealisationSigs,
} from '../nix/realisation.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { openPlain } from '../store/packed-files.ts';
import type { Storage } from '../store/storage.ts';
import { type ReadyBody, type Store, type StoredObject, TOUCH_INTERVAL_MS } from '../store/store.ts';
import { isDue, Renewing } from '../sync/renewing.ts';
import { Until } from '../sync/until.ts';
import { NOBODY, type Via } from '../upstream/via.ts';

/** An object that was found. Open it or close it. */
export interface Found {
  readonly mime: string;
  /** Bytes; undefined while nobody can tell. */
  readonly size: number | undefined;
  /** Whether that is known, and not only what an upstream says of a body that nobody has described. */
  readonly sure: boolean;
  /** SHA-256 of the body in hexadecimal, if it is known. */
  readonly sha256: string | undefined;
  /** When it came here, if that tells one version of it from another. */
  readonly modified: Date | undefined;
  /** Whether the bytes under its name never change. */
  readonly lasting: boolean;
  /** What it is packed in, where this Node can't undo that. */
  readonly coding?: string | undefined;
  /** For the log. */
  readonly how: How;
  /** Whether its bytes are judged only as they are read: while none was sent, another can take the place of one that is damaged. */
  readonly mayBeDamaged: boolean;
  /** The whole body, where it is in memory anyway. */
  readonly body: Buffer | undefined;
  /** The bytes from `start` up to `end`, or to the end if undefined. */
  open(start: number, end: number | undefined): Reader;
  close(): void;
}

/** How often an object that comes and goes is looked for before that is called a failure. */
const ATTEMPTS = 3;
/** Longer than any. */
const MAX_REALISATION_BYTES = 1 << 20;
type Opened = NonNullable<Awaited<ReturnType<typeof openPlain>>>;
type FileName = Exclude<ObjectName, { kind: 'narinfo' }>;
export type NarFile = Extract<ObjectName, { kind: 'nar' }>;
declare const narKey: unique symbol;
/** See {@link keyOf}. */
export type NarKey = string & { readonly [narKey]: true };
/** How long the NAR of a pushed narinfo is believed to be still here: clients ask for narinfos very often. */
const SEEN_MS = 1000;
/** How long after that it may be looked at again without a wait. */
const SEEN_LATELY_MS = 30_000;
/** After that a NAR's narinfo is looked at again when the NAR is asked for, which counts as a use of both. */
const LATELY_MS = TOUCH_INTERVAL_MS / 2;

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
  /** The names of the NARs of pushed narinfos, and when each was last seen to be here. */
  readonly #seen: Until<number>;
  readonly #now: () => number;
  readonly #renewing = new Renewing((narName) => this.#seeAgain(narName as NarName));
  /** Where NARs lie that were asked for lately: by {@link keyOf}, their paths. */
  readonly #lately: Until<string>;

  constructor({ fetcher, narInfos, now, storage }: CacheOptions) {
    this.#storage = storage;
    this.#store = storage.store;
    this.#narInfos = narInfos;
    this.#fetcher = fetcher;
    this.#now = now;
    this.#seen = new Until(now, SEEN_LATELY_MS);
    this.#lately = new Until(now, LATELY_MS);
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
    if (found === undefined && name.kind === 'nar') this.#seen.forget(name.name);
    if (found === undefined || name.kind !== 'debug-info') return found;
    return this.#unlessLost(found, (archive) => this.#isLost(archive, via));
  }

  /**
   * The NAR at once, if that can be told: one that is asked for again and again costs neither a look at its narinfo nor a promise.
   * Undefined says nothing.
   */
  readyFile(name: ObjectName): Found | undefined {
    if (name.kind !== 'nar') return undefined;
    const path = this.#lately.get(keyOf(name));
    const object = path === undefined ? undefined : this.#store.ready(path);
    object?.used();
    return object && foundInStore(object, undefined);
  }

  /** The same with all of its bytes, if it is small. */
  readyNar(name: NarFile, key: NarKey): ReadyBody | undefined {
    const lately = this.#lately.get(key);
    if (lately !== undefined) return this.#store.readyBody(lately);
    // One that was fetched ahead is asked for now for the first time.
    const known = name.hash && this.#narInfos.here(name.hash);
    if (known === undefined || !isNameOf(name.name, known)) return undefined;
    const path = pathOf({ ...name, name: known.narName });
    const ready = this.#store.readyBody(path);
    if (ready !== undefined && ready.meta.origin !== 'unknown' && fixesBytes(name.name))
      this.#lately.set(key, path);
    return ready;
  }

  /**
   * What can be told at once of the narinfo with this path, as {@link find} would; undefined if that takes longer. What is asked for
   * often is looked at again before it would take longer.
   */
  ready(path: string): KnownNarInfo | 'missing' | undefined {
    const ready = this.#narInfos.ready(path);
    if (typeof ready !== 'object' || ready.origin !== 'push') return ready;
    const { narName } = ready;
    const seenAt = this.#seen.get(narName);
    if (seenAt === undefined) return undefined;
    const age = this.#now() - seenAt;
    if (!isDue(age, SEEN_MS) || this.#seeNow(narName)) return ready;
    if (age >= SEEN_MS) return undefined;
    this.#renewing.asked(narName);
    return ready;
  }

  /** Whether the NAR can be seen to be here without a wait. */
  #seeNow(narName: NarName): boolean {
    const now = this.#now();
    for (const name of namesFor(narName, undefined)) {
      const seen = this.#store.versionNow(pathOf({ kind: 'nar', name, hash: undefined }));
      if (seen === undefined) return false;
      if (seen === 'none') continue;
      this.#seen.set(narName, now);
      return true;
    }
    return false;
  }

  async #seeAgain(narName: NarName): Promise<void> {
    const now = this.#now();
    if (await this.#isHere({ kind: 'nar', name: narName, hash: undefined })) this.#seen.set(narName, now);
  }

  /** Whether the NAR was seen to be here a moment ago. */
  #wasSeen(narName: NarName): boolean {
    return this.#now() - (this.#seen.get(narName) ?? Number.NEGATIVE_INFINITY) < SEEN_MS;
  }

  async #findNarInfo(hash: StoreHash, via: Via): Promise<Found | undefined> {
    const found = await this.#narInfos.find(hash, via);
    if (found?.known.origin !== 'push') return found && foundInMemory(found.known, found.how);
    const { known } = found;
    if (!this.#wasSeen(known.narName)) {
      const now = this.#now();
      if (await this.#isLost({ kind: 'nar', name: known.narName, hash: undefined }, via)) {
        await this.#narInfos.forsake(hash, known.narName);
        // An upstream may have the path, with another NAR.
        const other = await this.#narInfos.find(hash, via);
        return other && foundInMemory(other.known, other.how);
      }
      this.#seen.set(known.narName, now);
    }
    return foundInMemory(known, found.how);
  }

  /** Whether the NAR is neither here nor anywhere; where that can't be told, it is not so. */
  async #isLost(nar: NarFile, via: Via): Promise<boolean> {
    return !(await this.#isHere(nar)) && this.#fetcher.lacks(nar, via);
  }

  async #isHere(nar: NarFile): Promise<boolean> {
    for (const one of await this.#namesOf(nar))
      if (!(await this.#store.isGone(pathOf({ ...nar, name: one })))) return true;
    return false;
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
        return isToSign ? this.#signed(name, found, value) : found;
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

  /** Whether a NAR of unknown origin, which nobody checked, is another file than its narinfo says. It is set aside then. */
  async #isOther({ hash }: FileName & { kind: 'nar' }, object: StoredObject): Promise<boolean> {
    const { origin, path, sha256 } = object.meta;
    if (origin !== 'unknown' || hash === undefined || sha256 === undefined) return false;
    const fileHash = (await this.#narInfos.local(hash))?.info.fileHash;
    if (fileHash === undefined || sha256ToHex(fileHash) === sha256) return false;
    await object.close();
    await this.#store.setAsideAs(path, `its SHA-256 is ${sha256}, its narinfo says ${sha256ToHex(fileHash)}`);
    return true;
  }

  async #found(name: FileName, { object, coding }: Opened): Promise<Found> {
    const stored = foundInStore(object, coding);
    const { origin, size } = object.meta;
    if (!isRealisation(name) || coding !== undefined || size > MAX_REALISATION_BYTES) return stored;
    return this.#withSigs(name, stored, await object.bytes(), origin);
  }

  /** What is to be signed must be whole; whether the disk takes it does not matter. */
  async #signed(name: RealisationName, found: Found, download: Download): Promise<Found> {
    const tooLong = () => new CacheError('upstream', `${pathOf(name)} is longer than any realisation`);
    const reader = found.open(0, undefined);
    const pieces: Buffer[] = [];
    try {
      // The piece is only lent.
      for await (const piece of atMost(piecesOf(reader), MAX_REALISATION_BYTES, tooLong))
        pieces.push(Buffer.from(piece));
    } finally {
      reader.close();
    }
    return this.#withSigs(name, found, Buffer.concat(pieces), download.origin);
  }

  /** A realisation whose `bytes` came from there, with what we sign of it. */
  #withSigs(name: RealisationName, found: Found, bytes: Buffer, origin: string | undefined): Found {
    const text = bytes.toString();
    const realisation = parseRealisation(name, text);
    const sigs =
      realisation === undefined || origin === undefined
        ? []
        : this.#narInfos.served.sigsOf(realisation, origin);
    const memory = { ...found, size: bytes.length, sure: true };
    if (realisation === undefined || sigs.length === 0) return { ...memory, ...inMemory(bytes) };
    const body = Buffer.from(withRealisationSigs(name, text, realisation, sigs));
    const sha256 = createHash('sha256').update(body).digest('hex');
    return { ...memory, size: body.length, sha256, modified: undefined, ...inMemory(body) };
  }

  /** Of a log whose derivation has a `?` in its name also under the name that a client tells of it. */
  async #open(name: FileName): Promise<Awaited<ReturnType<typeof openPlain>>> {
    return name.kind === 'nar' ? this.#openNar(name) : this.#openFirst(pathsOf(name));
  }

  /** Under which path it was found is remembered: whatever becomes of its narinfo, such a name means no other bytes. */
  async #openNar(name: NarFile): Promise<Awaited<ReturnType<typeof openPlain>>> {
    const key = keyOf(name);
    const known = this.#lately.get(key);
    const again = known === undefined ? undefined : await this.#openFirst([known]);
    if (again !== undefined) return again;
    const found = await this.#openFirst(
      (await this.#namesOf(name)).map((one) => pathOf({ ...name, name: one })),
    );
    const { origin, path } = found?.object.meta ?? {};
    // What is of unknown origin must fit its narinfo, each time.
    if (path !== undefined && origin !== 'unknown' && fixesBytes(name.name)) this.#lately.set(key, path);
    else this.#lately.forget(key);
    return found;
  }

  async #openFirst(paths: readonly string[]): Promise<Awaited<ReturnType<typeof openPlain>>> {
    for (const path of paths) {
      const found = await openPlain(this.#storage, path);
      if (found === undefined) continue;
      found.object.used();
      return found;
    }
    return undefined;
  }

  /** Under which names the NAR may be stored: its narinfo tells, if that is here. */
  async #namesOf({ hash, name }: FileName & { kind: 'nar' }): Promise<[NarName, ...NarName[]]> {
    const known = hash && (this.#narInfos.here(hash) ?? (await this.#narInfos.local(hash)));
    const others = namesFor(name, hash);
    if (known === undefined || !isNameOf(name, known)) return others;
    // An earlier version stored a packed NAR under the name that Nix gives it, which may not tell that it is packed.
    const former = nixNarName(known.narName);
    return former === known.narName ? [former, ...others] : [known.narName, former, ...others];
  }

  /** When nothing is being fetched. */
  async idle(): Promise<void> {
    await Promise.all([this.#narInfos.idle(), this.#fetcher.idle()]);
  }
}

/** By what a NAR that is asked for is told from others: the same names with different store paths' hashes may be stored under different paths. */
export function keyOf({ hash, name }: NarFile): NarKey {
  return (hash === undefined || name.startsWith(hash) ? name : `${name}?${hash}`) as NarKey;
}

function foundInMemory({ served, sha256, modified }: KnownNarInfo, how: How): Found {
  const body = Buffer.from(served, 'latin1');
  return {
    mime: mimeOf('narinfo'),
    size: body.length,
    sure: true,
    sha256,
    modified,
    lasting: false,
    how,
    mayBeDamaged: false,
    ...inMemory(body),
  };
}

/** Whoever does not send `body` as it is may read it like any other. */
function inMemory(body: Buffer): Pick<Found, 'body' | 'open' | 'close'> {
  return { body, open: (start, end) => readerOf(body.subarray(start, end)), close: () => {} };
}

function foundInNarInfo({ compression, fileHash, fileSize, narHash, narSize }: NarInfo): Found {
  const isPlain = compression === 'none';
  const hash = fileHash ?? (isPlain ? narHash : undefined);
  return {
    mime: mimeOf('nar'),
    size: fileSize ?? (isPlain ? narSize : undefined),
    sure: true,
    sha256: hash && sha256ToHex(hash),
    modified: undefined,
    lasting: hash !== undefined,
    how: 'miss',
    mayBeDamaged: false,
    body: undefined,
    open: () => {
      throw new TypeError('what is only announced has no bytes');
    },
    close: () => {},
  };
}

function foundInStore(object: StoredObject, coding: string | undefined): Found {
  const { kind, size, sha256, storedAt } = object.meta;
  return {
    mime: mimeOf(kind),
    size,
    sure: true,
    sha256,
    modified: storedAt,
    lasting: isLasting(kind, sha256),
    coding,
    how: 'hit',
    mayBeDamaged: true,
    body: undefined,
    open: (start, end) => object.reader(start, end ?? size),
    close: () => void object.close().catch(() => {}),
  };
}

/** `held` is of the download. */
function foundInDownload(download: Download, held: Held, kind: ObjectKind, how: How): Found {
  return {
    mime: mimeOf(kind),
    size: download.size,
    sure: download.sure,
    sha256: download.sha256,
    modified: undefined,
    lasting: isLasting(kind, download.sha256),
    coding: download.coding,
    how,
    mayBeDamaged: false,
    body: undefined,
    open: (start, end) => held.open(start, end),
    close: () => held.close(),
  };
}

/** All others may be replaced: listings, logs and the like by the next push. */
function isLasting(kind: ObjectKind, sha256: string | undefined): boolean {
  return kind === 'nar' && sha256 !== undefined;
}
