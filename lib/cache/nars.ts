// Where the NARs that are here lie, and which of them were seen there a moment ago: the path of one costs a look at its narinfo, and whether
// it is there a look at the disk, so both are remembered, for as long as they can be believed.
import type { NarInfos } from '../narinfos/narinfos.ts';
import { sha256ToHex } from '../nix/hash.ts';
import { fixesBytes, isNameOf, namesFor, nixNarName } from '../nix/nar-names.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { type NarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import { openPlain } from '../store/packed-files.ts';
import type { Storage } from '../store/storage.ts';
import {
  type ObjectMeta,
  type ReadyBody,
  type Store,
  type StoredObject,
  TOUCH_INTERVAL_MS,
} from '../store/store.ts';
import { isDue, Renewing } from '../sync/renewing.ts';
import { Until } from '../sync/until.ts';

export type NarFile = Extract<ObjectName, { kind: 'nar' }>;
declare const narKey: unique symbol;
/** See {@link keyOf}. */
export type NarKey = string & { readonly [narKey]: true };
/** An object that is open, and what it is packed in where this Node can't undo that. */
export type Opened = NonNullable<Awaited<ReturnType<typeof openPlain>>>;

/** How long the NAR of a pushed narinfo is believed to be still here: clients ask for narinfos very often. */
const SEEN_MS = 1000;
/** How long after that it may be looked at again without a wait. */
const SEEN_LATELY_MS = 30_000;
/** After that a NAR's narinfo is looked at again when the NAR is asked for, which counts as a use of both. */
const LATELY_MS = TOUCH_INTERVAL_MS / 2;

interface NarsOptions {
  readonly storage: Pick<Storage, 'scratch' | 'store'>;
  readonly narInfos: Pick<NarInfos, 'here' | 'local'>;
  readonly now: () => number;
}

export class Nars {
  readonly #storage: Pick<Storage, 'scratch' | 'store'>;
  readonly #store: Store;
  readonly #narInfos: NarsOptions['narInfos'];
  readonly #now: () => number;
  /** The names of the NARs of pushed narinfos, and when each was last seen to be here. */
  readonly #seen: Until<number>;
  /** Whether the store could be looked at without a wait when that was last tried: then nothing need be looked at beforehand. */
  #canLookNow = false;
  readonly #renewing = new Renewing((narName) => this.#seeAgain(narName as NarName));
  /** Where NARs lie that were asked for lately: by {@link keyOf}, their paths. */
  readonly #lately: Until<string>;

  constructor({ narInfos, now, storage }: NarsOptions) {
    this.#storage = storage;
    this.#store = storage.store;
    this.#narInfos = narInfos;
    this.#now = now;
    this.#seen = new Until(now, SEEN_LATELY_MS);
    this.#lately = new Until(now, LATELY_MS);
  }

  /** The NAR, if it is here; it counts as used. Under which path it was found is remembered: whatever becomes of its narinfo, such a name means no other bytes. */
  async open(name: NarFile): Promise<Opened | undefined> {
    const key = keyOf(name);
    const known = this.#lately.get(key);
    const again = known === undefined ? undefined : await openFirst(this.#storage, [known]);
    if (again !== undefined) return again;
    const found = await openFirst(
      this.#storage,
      (await this.#namesOf(name)).map((one) => pathOf({ ...name, name: one })),
    );
    const { origin, path } = found?.object.meta ?? {};
    // What is of unknown origin must fit its narinfo, each time.
    if (path !== undefined && origin !== 'unknown' && fixesBytes(name.name)) this.#lately.set(key, path);
    else this.#lately.forget(key);
    return found;
  }

  /** Under which names the NAR may be stored: its narinfo tells, if that is here. */
  async #namesOf({ hash, name }: NarFile): Promise<[NarName, ...NarName[]]> {
    const known = hash && (this.#narInfos.here(hash) ?? (await this.#narInfos.local(hash)));
    const others = namesFor(name, hash);
    if (known === undefined || !isNameOf(name, known)) return others;
    // An earlier version stored a packed NAR under the name that Nix gives it, which may not tell that it is packed.
    const former = nixNarName(known.narName);
    return former === known.narName ? [former, ...others] : [known.narName, former, ...others];
  }

  /** Whether it is here, under any name that it may have. */
  async isHere(nar: NarFile): Promise<boolean> {
    for (const one of await this.#namesOf(nar))
      if (!(await this.#store.isGone(pathOf({ ...nar, name: one })))) return true;
    return false;
  }

  /**
   * The NAR at once, if that can be told: one that is asked for again and again costs neither a look at its narinfo nor a promise.
   * Undefined says nothing.
   */
  ready(name: NarFile): StoredObject | undefined {
    const path = this.#lately.get(keyOf(name));
    const object = path === undefined ? undefined : this.#store.ready(path);
    object?.used();
    return object;
  }

  /** The same with all of its bytes, if it is small. */
  readyBody(name: NarFile, key: NarKey): ReadyBody | undefined {
    const lately = this.#lately.get(key);
    if (lately !== undefined) return this.#store.readyBody(lately);
    // One that was fetched ahead is asked for now for the first time.
    const known = name.hash && this.#narInfos.here(name.hash);
    if (known === undefined || !isNameOf(name.name, known)) return undefined;
    const path = pathOf({ ...name, name: known.narName });
    const ready = this.#store.readyBody(path);
    if (ready === undefined) return undefined;
    if (isOther(ready.meta, known.info)) {
      ready.body.giveBack();
      return undefined;
    }
    if (ready.meta.origin !== 'unknown' && fixesBytes(name.name)) this.#lately.set(key, path);
    return ready;
  }

  /** Whether it was seen to be here a moment ago, or can be without a wait. What is asked for often is looked at before it would take longer. */
  isReady(narName: NarName): boolean {
    const seenAt = this.#seen.get(narName);
    if (seenAt === undefined) return false;
    const age = this.#now() - seenAt;
    if (age >= SEEN_MS) return this.#seeNow(narName);
    if (!this.#canLookNow && isDue(age, SEEN_MS)) this.#renewing.asked(narName);
    return true;
  }

  /** Whether the NAR was seen to be here a moment ago. */
  wasSeen(narName: NarName): boolean {
    return this.#now() - (this.#seen.get(narName) ?? Number.NEGATIVE_INFINITY) < SEEN_MS;
  }

  /** It was here when that was looked for at that time. */
  saw(narName: NarName, at: number): void {
    this.#seen.set(narName, at);
  }

  /** It may be gone. */
  forget(narName: NarName): void {
    this.#seen.forget(narName);
  }

  /** Whether the NAR can be seen to be here without a wait. */
  #seeNow(narName: NarName): boolean {
    const now = this.#now();
    for (const name of namesFor(narName, undefined)) {
      const seen = this.#store.versionNow(pathOf({ kind: 'nar', name, hash: undefined }));
      this.#canLookNow = seen !== undefined;
      if (seen === undefined) return false;
      if (seen === 'none') continue;
      this.#seen.set(narName, now);
      return true;
    }
    return false;
  }

  async #seeAgain(narName: NarName): Promise<void> {
    const now = this.#now();
    if (await this.isHere({ kind: 'nar', name: narName, hash: undefined })) this.#seen.set(narName, now);
  }
}

/** Whether a NAR of unknown origin, which nobody checked, is another file than its narinfo says. */
export function isOther({ origin, sha256 }: ObjectMeta, { fileHash }: Pick<NarInfo, 'fileHash'>): boolean {
  if (origin !== 'unknown' || sha256 === undefined || fileHash === undefined) return false;
  return sha256ToHex(fileHash) !== sha256;
}

/** The first of these that is there, which counts as used. */
export async function openFirst(
  storage: Pick<Storage, 'scratch' | 'store'>,
  paths: readonly string[],
): Promise<Opened | undefined> {
  for (const path of paths) {
    const found = await openPlain(storage, path);
    if (found === undefined) continue;
    found.object.used();
    return found;
  }
  return undefined;
}

/** By what a NAR that is asked for is told from others: the same names with different store paths' hashes may be stored under different paths. */
export function keyOf({ hash, name }: NarFile): NarKey {
  return (hash === undefined || name.startsWith(hash) ? name : `${name}?${hash}`) as NarKey;
}
