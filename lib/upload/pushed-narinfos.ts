// Takes the narinfos that clients push: their NARs are here and fit, what was there before stays, and signatures of several
// uploads come together.

import { CacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import { isContentAddressed } from '../nix/content-address.ts';
import { checkFits, sameContent, withoutNeedlessSize } from '../nix/fits.ts';
import { addressOf, isNameOf, pushedNarName, storedNarName } from '../nix/nar-names.ts';
import {
  checkSigLines,
  MAX_NARINFO_BYTES,
  mended,
  type NarInfo,
  parseNarInfo,
  withFileSize,
  withSigs,
  withUrl,
} from '../nix/narinfo.ts';
import { hashInNarName, isNarName, type NarName, pathOf } from '../nix/object-name.ts';
import { checkVouchedFor, isVouchedFor, type Keys } from '../nix/signature.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { Storage } from '../store/storage.ts';
import type { ObjectMeta, PutOptions } from '../store/store.ts';
import { storeBody } from '../store/store-body.ts';
import { PushedNars } from './pushed-nars.ts';

interface PushedNarInfosOptions {
  readonly storage: Pick<Storage, 'scratch' | 'store'>;
  readonly narInfos: NarInfos;
  readonly storeDir: string;
  readonly emit: Emit;
}

/** Of one upload. */
export interface Circumstances {
  /** Aborts when nobody waits for it any more. */
  readonly signal: AbortSignal;
  /** As in a cache without upstreams, so that what came from one does not count as being here. */
  readonly alone: boolean;
}

/** What is pushed replaces what is there, and survives a power loss. */
export const PUSHED: PutOptions = { when: 'always', durable: true };
/** As many as a header has room for, and more than there are compressions. */
const MAX_OTHER_NARS = 6;

export class PushedNarInfos {
  readonly #options: PushedNarInfosOptions;
  readonly #nars: PushedNars;

  constructor(options: PushedNarInfosOptions) {
    this.#options = options;
    this.#nars = new PushedNars(options.storage);
  }

  /**
   * Stores the narinfo of the path with that hash, if one of the keys has signed it or its path follows from its content, and its NAR is here.
   * @throws CacheError `invalid`, `too-large` or `storage`
   */
  async put(hash: StoreHash, received: string, keys: Keys, circumstances: Circumstances): Promise<void> {
    const { narInfos, storeDir } = this.#options;
    checkSigLines(received);
    const info = parseNarInfo(received, storeDir);
    if (info.hashPart !== hash) {
      throw new CacheError('invalid', `expected the narinfo of ${hash}, found that of ${info.storePath}`);
    }
    checkVouchedFor(info, keys, storeDir);
    const written = pushedNarName(info);
    const text = mended(received, info, storeDir, (name) => keys.some((key) => key.name === name));
    // One that does not give the path is not passed on, and says nothing of what is in it.
    const said = isContentAddressed(info, storeDir) ? info : { ...info, ca: undefined };
    // Signatures of several uploads at once are all kept: they are merged one after the other.
    await narInfos.changing.run(hash, () => this.#merge(said, text, written, { ...circumstances, keys }));
  }

  async #merge(
    info: NarInfo,
    text: string,
    written: NarName,
    { alone, keys, signal }: Circumstances & { readonly keys: Keys },
  ): Promise<void> {
    const { emit, narInfos, storage, storeDir } = this.#options;
    const { store } = storage;
    // The client may have got the narinfo from here a moment ago, while it was still on its way into the store.
    await narInfos.settled(info.hashPart);
    const found = await narInfos.local(info.hashPart);
    const existing = found !== undefined && sameContent(found.info, info) ? found : undefined;
    const stays =
      found !== undefined && (found.origin === 'push' ? isVouchedFor(found.info, keys, storeDir) : !alone);
    if (existing === undefined && stays) {
      emit({ kind: 'upload-ignored', storePath: info.storePath, narHash: found.info.narHash });
      return;
    }
    // A client that sends back a narinfo we served has our address of the NAR in it, or a former one.
    const sentBack = written === addressOf(info) ? storedNarName(info) : written;
    const narName = existing !== undefined && isNameOf(written, existing) ? existing.narName : sentBack;
    const pathOfNar = (name: NarName) => pathOf({ kind: 'nar', name, hash: undefined });
    const here = async (name: NarName) => (await store.version(pathOfNar(name))) !== undefined;
    // For a path that is here, a client may send back a FileSize that was served once.
    const judged = existing === undefined ? info : withoutNeedlessSize(info);
    const nar = await this.#narOf(judged, pathOfNar(narName), signal);
    const path = pathOf({ kind: 'narinfo', hash: info.hashPart });
    const put = async (merged: string, origin: string, kept = narName) => {
      // Merged signatures could grow without bound.
      const bytes = Buffer.from(merged);
      if (bytes.length > MAX_NARINFO_BYTES) throw tooLarge(MAX_NARINFO_BYTES, bytes.length);
      // NARs of a replaced content are not named any more.
      const otherNars = existing && (await this.#otherNars(path, kept, existing.narName, narName));
      await storeBody(storage, [bytes], () => ({ path, kind: 'narinfo', origin, otherNars }), PUSHED);
      narInfos.forget(info.hashPart);
    };
    const owned = nar?.origin === 'push';
    const fetched = existing !== undefined && existing.origin !== 'push' && existing.narName === narName;
    if (nar !== undefined && (owned || !fetched)) {
      // The NAR may have come from an upstream, in which case the client skipped its upload.
      if (owned) await store.sync(nar.path);
      else await this.#nars.own(nar.path);
      // No signature covers where a NAR is and how it is packed: the first statement stays while its NAR is here.
      const first = existing?.origin === 'push' && (await here(existing.narName)) ? existing : undefined;
      const sized = withFileSize(withUrl(text, `nar/${narName}`), nar.size);
      const sent = withSigs(sized, existing?.info.sigs ?? []);
      if (first === undefined) await put(sent, 'push');
      else await put(withSigs(first.text, info.sigs), 'push', first.narName);
      // A collection may have removed the NAR a moment ago, while no narinfo named it.
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

  /** It has just been pushed, and its narinfo will be. */
  storedNar(path: string, size: number, sha256: string): void {
    this.#nars.stored(path, size, sha256);
  }

  /**
   * The NAR under that path, if it is here, or was a moment ago.
   * @throws CacheError `invalid` if it is not what the narinfo says
   */
  async #narOf(
    info: NarInfo,
    path: string,
    signal: AbortSignal,
  ): Promise<Pick<ObjectMeta, 'origin' | 'path' | 'size'> | undefined> {
    const lately = this.#nars.lately(path, info);
    if (lately !== undefined) {
      checkFits(info, lately);
      return lately;
    }
    const nar = await this.#options.storage.store.open(path);
    // A collection that is just about to remove the NAR sees the use, and puts the NAR back.
    nar?.used();
    if (nar !== undefined) await this.#nars.check(info, nar, signal);
    return nar?.meta;
  }

  /** What the narinfo with this path is to say of them, whose own NAR is the one that is `kept`. */
  async #otherNars(
    path: string,
    kept: NarName,
    ...known: readonly (NarName | undefined)[]
  ): Promise<string[] | undefined> {
    const stored = await this.#options.storage.store.open(path);
    await stored?.close();
    const names = new Set([...(stored?.meta.otherNars ?? []), ...known]);
    names.delete(kept);
    // Pushed NARs are named by a hash, so all of them fit into the header.
    const others = [...names].filter((name) => name !== undefined && isNarName(name) && hashInNarName(name));
    const newest = others.slice(-MAX_OTHER_NARS) as NarName[];
    return newest.length === 0 ? undefined : newest;
  }
}

/** The refusal of a body that is larger than `most` bytes. */
export function tooLarge(most: number, found: string | number): CacheError {
  return new CacheError('too-large', `expected at most ${most} bytes, found ${found}`);
}
