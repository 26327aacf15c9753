// Takes what clients push: spooled, checked, then committed, so that nothing is visible before it is known to be
// right, and nothing is acknowledged before it is safe on disk. Clients send NARs first and narinfos last.

import { atMost, collect } from '../bytes/streams.ts';
import { isFull } from '../disk/files.ts';
import { CacheError, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import { type Sha256, sha256FromBytes } from '../nix/hash.ts';
import { MAX_NARINFO_BYTES } from '../nix/narinfo.ts';
import { hashInNarName, type NarName, type ObjectName, pathOf, told } from '../nix/object-name.ts';
import { isRealisation } from '../nix/realisation.ts';
import { type Keys, type PublicKey, readKeys } from '../nix/signature.ts';
import type { Storage } from '../store/storage.ts';
import { storeBody } from '../store/store-body.ts';
import { type Circumstances, PUSHED, PushedNarInfos, tooLarge } from './pushed-narinfos.ts';
import { MAX_REALISATION_BYTES, putRealisation } from './pushed-realisations.ts';

interface UploadsOptions {
  readonly storage: Pick<Storage, 'scratch' | 'store'>;
  readonly narInfos: NarInfos;
  readonly misses: { forget(path: string): void };
  readonly storeDir: string;
  readonly emit: Emit;
  readonly rules: PushRules;
}

/** What is demanded of what is pushed. */
export interface PushRules {
  /** One of these must have signed a narinfo; if there are none, nobody need have. */
  readonly trustedKeys: readonly PublicKey[];
  /** Of one file. */
  readonly maxBytes: number;
}

export class Uploads {
  readonly #options: UploadsOptions;
  readonly #narInfos: PushedNarInfos;
  #trustedKeys: Keys;
  #maxBytes: number;

  constructor(options: UploadsOptions) {
    this.#options = options;
    this.#narInfos = new PushedNarInfos(options);
    this.#trustedKeys = readKeys(options.rules.trustedKeys);
    this.#maxBytes = options.rules.maxBytes;
  }

  /** From now on other rules hold. */
  reconfigure({ trustedKeys, maxBytes }: PushRules): void {
    this.#trustedKeys = readKeys(trustedKeys);
    this.#maxBytes = maxBytes;
  }

  /**
   * What can be said against an upload of `length` bytes, if that is known, before its body is here.
   * @throws CacheError `invalid`, `too-large`, `full` or `storage`
   */
  async check(name: ObjectName, length: number | undefined): Promise<void> {
    this.#checkName(name, length);
    await this.#options.storage.scratch.checkRoom(length);
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
   * @throws CacheError `invalid`, `too-large`, `full`, `storage`, or what reading `body` throws
   */
  async put(
    offered: ObjectName,
    body: AsyncIterable<Buffer>,
    signal: AbortSignal,
    alone = false,
  ): Promise<void> {
    const name = told(offered);
    this.#checkName(name);
    try {
      await this.#put(name, body, { signal, alone });
    } catch (error) {
      // There was room when the upload began, and others took it.
      if (isCacheError(error, 'storage') && isFull(error.cause)) {
        throw new CacheError('full', error.message, error.cause);
      }
      throw error;
    }
  }

  async #put(name: ObjectName, body: AsyncIterable<Buffer>, circumstances: Circumstances): Promise<void> {
    const most = this.#mostOf(name);
    if (name.kind === 'narinfo') {
      const text = await collect(body, most, () => tooLarge(most, 'more'));
      await this.#narInfos.put(name.hash, text.toString(), this.#trustedKeys, circumstances);
      this.#told(name, text.length);
      return;
    }
    if (isRealisation(name)) {
      const bytes = await collect(body, Math.min(most, MAX_REALISATION_BYTES), () => tooLarge(most, 'more'));
      const manner = { keys: this.#trustedKeys, options: PUSHED };
      await putRealisation(this.#options, name, bytes, manner);
      this.#options.misses.forget(pathOf(name));
      this.#told(name, bytes.length);
      return;
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
      kind: 'nar' as const,
      name: nameOf(sha256),
      hash: undefined,
    }));
    return name;
  }

  /** `nameOf` throws if the body is not to be kept. */
  async #putFile<N extends ObjectName>(
    body: AsyncIterable<Buffer>,
    nameOf: (sha256: Sha256) => N,
  ): Promise<N> {
    const { misses, storage } = this.#options;
    const most = this.#maxBytes;
    const bounded = atMost(body, most, () => tooLarge(most, 'more'));
    let name!: N;
    let bytes = 0;
    let sha256 = '';
    const describe = (digest: Buffer, size: number) => {
      name = nameOf(sha256FromBytes(digest));
      bytes = size;
      sha256 = digest.toString('hex');
      return { path: pathOf(name), kind: name.kind, origin: 'push' };
    };
    await storeBody(storage, bounded, describe, PUSHED);
    if (name.kind === 'nar') this.#narInfos.storedNar(pathOf(name), bytes, sha256);
    misses.forget(pathOf(name));
    this.#told(name, bytes);
    return name;
  }

  #told(name: ObjectName, bytes: number): void {
    this.#options.emit({ kind: 'uploaded', path: pathOf(name), bytes });
  }
}

function checkNarHash(name: NarName, found: string): void {
  if (hashInNarName(name) === found) return;
  throw new CacheError(
    'invalid',
    `nar/${name}: expected a body with the SHA-256 in its name, found ${found}`,
  );
}
