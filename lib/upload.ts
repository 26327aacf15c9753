// Takes what clients push: spooled, checked, then committed, so that nothing is visible before it is known to be
// right, and nothing is acknowledged before it is safe on disk. Clients send NARs first and narinfos last.
import type { NarInfos } from './download/narinfos.ts';
import { CacheError } from './errors.ts';
import type { Log } from './log.ts';
import { sameContent } from './nix/fits.ts';
import { type Sha256, sha256FromBytes } from './nix/hash.ts';
import {
  MAX_NARINFO_BYTES,
  type NarInfo,
  parseNarInfo,
  pushedNarName,
  withoutSig,
  withSigs,
  withUrl,
} from './nix/narinfo.ts';
import { hashInNarName, isNarName, type NarName, type ObjectName, pathOf } from './nix/object-name.ts';
import { checkSigned, type Keys, type PublicKey, readKeys } from './nix/signature.ts';
import type { StoreHash } from './nix/store-path.ts';
import { PushedNars } from './pushed-nars.ts';
import type { PutOptions, Store } from './store/store.ts';
import { storeBody } from './store/store-body.ts';
import { atMost, collect } from './streams.ts';
import type { Misses } from './upstream/misses.ts';

interface UploadsOptions {
  readonly store: Store;
  readonly narInfos: NarInfos;
  readonly misses: Misses;
  readonly storeDir: string;
  readonly log: Log;
  readonly rules: PushRules;
}

/** What is demanded of what is pushed. */
export interface PushRules {
  /** One of these must have signed a narinfo; if there are none, nobody need have. */
  readonly trustedKeys: readonly PublicKey[];
  /** Of one file. */
  readonly maxBytes: number;
}

/** As many as a header has room for, and more than there are compressions. */
const MAX_OTHER_NARS = 6;

/** Of one upload: see {@link Uploads.put}. */
interface Circumstances {
  readonly signal: AbortSignal;
  readonly alone: boolean;
}

const PUSHED: PutOptions = { existing: 'replace', durable: true };

export class Uploads {
  readonly #options: UploadsOptions;
  readonly #nars: PushedNars;
  #trustedKeys: Keys;
  #maxBytes: number;

  constructor(options: UploadsOptions) {
    this.#options = options;
    this.#nars = new PushedNars(options.store);
    this.#trustedKeys = readKeys(options.rules.trustedKeys);
    this.#maxBytes = options.rules.maxBytes;
  }

  /** From now on other rules hold. */
  replace({ trustedKeys, maxBytes }: PushRules): void {
    this.#trustedKeys = readKeys(trustedKeys);
    this.#maxBytes = maxBytes;
  }

  /**
   * What can be said against an upload of `length` bytes, if that is known, before its body is here.
   * @throws CacheError `invalid`, `too-large`, `full` or `storage`
   */
  async check(name: ObjectName, length: number | undefined): Promise<void> {
    this.#checkName(name, length);
    await this.#options.store.checkRoom(length);
  }

  #checkName(name: ObjectName, length?: number): void {
    const most = this.#mostOf(name);
    if (length !== undefined && length > most) throw tooLarge(most, length);
    if (name.kind === 'nar' && hashInNarName(name.name) === undefined) {
      throw new CacheError(
        'invalid',
        `expected nar/<SHA-256 of the file in nix32>.nar…, found nar/${name.name}`,
      );
    }
  }

  #mostOf({ kind }: ObjectName): number {
    return kind === 'narinfo' ? Math.min(this.#maxBytes, MAX_NARINFO_BYTES) : this.#maxBytes;
  }

  /**
   * Stores `body` under `name`; once this has returned, power may fail. `signal` aborts when nobody waits for it any more.
   * `alone`: as in a cache without upstreams, so that what came from one does not count as being here.
   * @throws CacheError `invalid`, `too-large`, `storage`, or what reading `body` throws
   */
  async put(
    name: ObjectName,
    body: AsyncIterable<Buffer>,
    signal: AbortSignal,
    alone = false,
  ): Promise<void> {
    this.#checkName(name);
    const most = this.#mostOf(name);
    if (name.kind === 'narinfo') {
      const text = await collect(body, most, () => tooLarge(most, 'more'));
      return this.#putNarInfo(name.hash, text.toString(), { signal, alone });
    }
    await this.#putFile(body, (sha256) => {
      if (name.kind === 'nar') checkNarHash(name.name, sha256);
      return name;
    });
  }

  /**
   * Stores a NAR whose hash nobody has told under the name that follows from it; `ending` is what is behind `.nar`.
   * @throws CacheError `too-large`, `storage`, or what reading `body` throws
   */
  async putNar(ending: string, body: AsyncIterable<Buffer>): Promise<NarName> {
    const nameOf = (sha256: Sha256) => `${sha256}.nar${ending}` as NarName;
    const { name } = await this.#putFile(body, (sha256) => ({
      ...{ kind: 'nar' as const, name: nameOf(sha256), hash: undefined },
    }));
    return name;
  }

  /** `nameOf` throws if the body is not to be kept. */
  async #putFile<N extends ObjectName>(
    body: AsyncIterable<Buffer>,
    nameOf: (sha256: Sha256) => N,
  ): Promise<N> {
    const { misses, store } = this.#options;
    const most = this.#maxBytes;
    const bounded = atMost(body, most, () => tooLarge(most, 'more'));
    let name!: N;
    const describe = (digest: Buffer) => {
      name = nameOf(sha256FromBytes(digest));
      return { path: pathOf(name), kind: name.kind, origin: 'push' };
    };
    await storeBody(store, bounded, describe, PUSHED);
    misses.forget(pathOf(name));
    return name;
  }

  async #putNarInfo(hash: StoreHash, received: string, circumstances: Circumstances): Promise<void> {
    const { narInfos, storeDir } = this.#options;
    const info = parseNarInfo(received, storeDir);
    if (info.hashPart !== hash) {
      throw new CacheError('invalid', `expected the narinfo of ${hash}, found that of ${info.storePath}`);
    }
    checkSigned(info, this.#trustedKeys, storeDir);
    const narName = pushedNarName(info);
    // Our own signature is no part of what is kept: it is made anew whenever the narinfo is served.
    const own = narInfos.ownSig(info);
    const text = own === undefined ? received : withoutSig(received, own);
    // Signatures of several uploads at once are all kept: they are merged one after the other.
    const sigs = info.sigs.filter((sig) => sig !== own);
    await narInfos.changing.run(hash, () => this.#merge({ ...info, sigs }, text, narName, circumstances));
  }

  async #merge(
    info: NarInfo,
    text: string,
    narName: NarName,
    { alone, signal }: Circumstances,
  ): Promise<void> {
    const { log, narInfos, store } = this.#options;
    // The client may have had it from here a moment ago, while it was still on its way into the store.
    await narInfos.settled(info.hashPart);
    const found = await narInfos.local(info.hashPart);
    const existing = found !== undefined && sameContent(found.info, info) ? found : undefined;
    const stays = found !== undefined && (found.origin === 'push' || !alone);
    if (existing === undefined && stays) {
      log.info(
        `${info.storePath} is already here with another content, which stays (NarHash ${found.info.narHash})`,
      );
      return;
    }
    const pathOfNar = (name: NarName) => pathOf({ kind: 'nar', name, hash: undefined });
    const here = async (name: NarName) => (await store.version(pathOfNar(name))) !== undefined;
    const nar = await store.open(pathOfNar(narName));
    if (nar !== undefined) await this.#nars.check(info, nar, signal);
    const path = pathOf({ kind: 'narinfo', hash: info.hashPart });
    const put = async (merged: string, origin: string, kept = narName) => {
      // Signatures come to one another without end.
      const bytes = Buffer.from(merged);
      if (bytes.length > MAX_NARINFO_BYTES) throw tooLarge(MAX_NARINFO_BYTES, bytes.length);
      const otherNars = await this.#otherNars(path, kept, existing?.narName, narName);
      await storeBody(store, [bytes], () => ({ path, kind: 'narinfo', origin, otherNars }), PUSHED);
      narInfos.forget(info.hashPart);
    };
    const owned = nar?.meta.origin === 'push';
    const fetched = existing !== undefined && existing.origin !== 'push' && existing.narName === narName;
    if (nar !== undefined && (owned || !fetched)) {
      // It may have come from an upstream, and the client skipped its upload when it saw that.
      if (owned) await store.sync(nar.meta.path);
      else await this.#nars.own(nar.meta.path);
      // No signature covers where a NAR is and how it is packed: what was said of that first stays, while it is so.
      const first = existing?.origin === 'push' && (await here(existing.narName)) ? existing : undefined;
      const sent = withSigs(withUrl(text, `nar/${narName}`), existing?.info.sigs ?? []);
      if (first === undefined) await put(sent, 'push');
      else await put(withSigs(first.text, info.sigs), 'push', first.narName);
      // A collection may have taken the NAR in this very moment, while nothing named it.
      if (await here(first?.narName ?? narName)) return;
      await store.delete(path);
      narInfos.forget(info.hashPart);
    } else if (existing?.narName === narName) {
      // `nix store sign` sends back a narinfo that we gave it, with a signature more; the NAR may be only upstream.
      return put(withSigs(existing.text, info.sigs), existing.origin);
    }
    throw new CacheError(
      'invalid',
      `the narinfo of ${info.storePath} names nar/${narName}, which is not here: push it first`,
    );
  }

  /** What the narinfo with this path is to say of them, whose own NAR is the one that is `kept`. */
  async #otherNars(
    path: string,
    kept: NarName,
    ...known: readonly (NarName | undefined)[]
  ): Promise<string[] | undefined> {
    const stored = await this.#options.store.open(path);
    await stored?.close();
    const names = new Set([...(stored?.meta.otherNars ?? []), ...known]);
    names.delete(kept);
    // Pushed ones have a hash for a name, and so all of them fit.
    const others = [...names].filter((name) => name !== undefined && isNarName(name) && hashInNarName(name));
    const newest = others.slice(-MAX_OTHER_NARS) as NarName[];
    return newest.length === 0 ? undefined : newest;
  }
}

function checkNarHash(name: NarName, found: string): void {
  if (hashInNarName(name) === found) return;
  throw new CacheError(
    'invalid',
    `nar/${name}: expected a body with the SHA-256 in its name, found ${found}`,
  );
}

function tooLarge(most: number, found: string | number): CacheError {
  return new CacheError('too-large', `expected at most ${most} bytes, found ${found}`);
}
