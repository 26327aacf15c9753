// Takes what clients push: spooled, checked, then committed, so that nothing is visible before it is known to be
// right, and nothing is acknowledged before it is safe on disk. Clients send NARs first and narinfos last.
import { createHash } from 'node:crypto';
import { isDecodable } from './codings.ts';
import type { NarInfos } from './download/narinfos.ts';
import { storeBytes } from './download/store-bytes.ts';
import { CacheError } from './errors.ts';
import type { Log } from './log.ts';
import { sha256FromBytes, sha256ToHex } from './nix/hash.ts';
import {
  MAX_NARINFO_BYTES,
  type NarInfo,
  parseNarInfo,
  withoutSig,
  withSigs,
  withUrl,
} from './nix/narinfo.ts';
import { hashInNarName, isNarName, type NarName, type ObjectName, pathOf } from './nix/object-name.ts';
import { checkSigned, type Keys, type PublicKey, readKeys } from './nix/signature.ts';
import type { StoreHash } from './nix/store-path.ts';
import { checkUnpacked } from './nix/unpacked.ts';
import { ByteLru } from './store/byte-lru.ts';
import type { ObjectMeta, PutOptions, Store, StoredObject } from './store/store.ts';
import { collect, piecesOf, type Reader } from './streams.ts';
import type { Misses } from './upstream/misses.ts';
import { Slots } from './upstream/slots.ts';

export interface UploadsOptions {
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

/** NARs that are unpacked at once: each keeps a core busy. */
const UNPACKING = 2;
const UNPACKED = 10_000;
const PUSHED: PutOptions = { existing: 'replace', durable: true };

export class Uploads {
  readonly #options: UploadsOptions;
  readonly #unpacking = new Slots(UNPACKING);
  /** NARs that were unpacked and found to be what a narinfo said: their version, with that. */
  readonly #unpacked = new ByteLru<true>(UNPACKED);
  #trustedKeys: Keys;
  #maxBytes: number;

  constructor(options: UploadsOptions) {
    this.#options = options;
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
   * @throws CacheError `invalid` or `too-large`
   */
  check(name: ObjectName, length: number | undefined): void {
    if (length !== undefined && length > this.#maxBytes) throw this.#tooLarge(length);
    if (name.kind === 'nar' && hashInNarName(name.name) === undefined) {
      throw new CacheError(
        'invalid',
        `expected nar/<SHA-256 of the file in nix32>.nar…, found nar/${name.name}`,
      );
    }
  }

  #tooLarge(found: string | number): CacheError {
    return new CacheError('too-large', `expected at most ${this.#maxBytes} bytes, found ${found}`);
  }

  /**
   * Stores `body` under `name`; once this has returned, power may fail. `signal` aborts when nobody waits for it any more.
   * @throws CacheError `invalid`, `too-large`, `storage`, or what reading `body` throws
   */
  async put(name: ObjectName, body: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    this.check(name, undefined);
    if (name.kind === 'narinfo') return this.#putNarInfo(name.hash, await readText(body), signal);
    const spool = this.#options.store.spool();
    try {
      // Before the body is asked for.
      await spool.ready();
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of body) {
        const written = spool.write(chunk, size);
        hash.update(chunk);
        await written;
        size += chunk.length;
        if (size > this.#maxBytes) throw this.#tooLarge('more');
      }
      const digest = hash.digest();
      if (name.kind === 'nar') checkNarHash(name.name, sha256FromBytes(digest));
      const meta: ObjectMeta = {
        ...{ path: pathOf(name), kind: name.kind, origin: 'push', storedAt: new Date() },
        ...{ size, sha256: digest.toString('hex') },
      };
      await this.#options.store.put(spool, meta, PUSHED);
      this.#options.misses.forget(meta.path);
    } finally {
      await spool.close();
    }
  }

  async #putNarInfo(hash: StoreHash, received: string, signal: AbortSignal): Promise<void> {
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
    await narInfos.changing.run(hash, () => this.#merge(info, text, narName, signal));
  }

  async #merge(info: NarInfo, text: string, narName: NarName, signal: AbortSignal): Promise<void> {
    const { log, narInfos, store } = this.#options;
    // The client may have had it from here a moment ago, while it was still on its way into the store.
    await narInfos.settled(info.hashPart);
    const existing = await narInfos.local(info.hashPart);
    if (existing !== undefined && !sameContent(existing.info, info)) {
      log.info(
        `${info.storePath} is already here with another content, which stays (NarHash ${existing.info.narHash})`,
      );
      return;
    }
    const nar = await store.open(pathOf({ kind: 'nar', name: narName, hash: undefined }));
    if (nar !== undefined) await this.#checkNar(info, nar, signal);
    const put = async (merged: string, origin: string) => {
      await storeBytes(store, { kind: 'narinfo', hash: info.hashPart }, Buffer.from(merged), origin, PUSHED);
      narInfos.forget(info.hashPart);
    };
    if (nar !== undefined) {
      // It may have come from an upstream, and the client skipped its upload when it saw that.
      await store.sync(nar.meta.path);
      return put(withSigs(withUrl(text, `nar/${narName}`), existing?.info.sigs ?? []), 'push');
    }
    // `nix store sign` sends back a narinfo that we gave it, with a signature more; the NAR may be only upstream.
    if (existing?.narName === narName) return put(withSigs(existing.text, info.sigs), existing.origin);
    throw new CacheError(
      'invalid',
      `the narinfo of ${info.storePath} names nar/${narName}, which is not here: push it first`,
    );
  }

  /**
   * Whether the narinfo says of the NAR, which is closed, what is so.
   * @throws CacheError `invalid` if not
   */
  async #checkNar(info: NarInfo, nar: StoredObject, signal: AbortSignal): Promise<void> {
    try {
      checkFits(info, nar.meta);
      if (info.compression === 'none' || !isDecodable(info.compression)) return;
      const { compression, narHash, narSize } = info;
      const known = [nar.version, compression, narHash, narSize].join(' ');
      // Several paths may share a NAR, and a narinfo may come again with another signature.
      if (this.#unpacked.get(known)) return;
      const leave = await this.#unpacking.acquire(signal);
      try {
        await checkUnpacked(info.storePath, info, unlessAborted(nar.reader(0, nar.meta.size), signal));
      } finally {
        leave();
      }
      this.#unpacked.set(known, true, 1);
    } finally {
      await nar.close();
    }
  }
}

async function* unlessAborted(reader: Reader, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const piece of piecesOf(reader)) {
    signal.throwIfAborted();
    yield piece;
  }
}

/** The NAR's name in a narinfo as clients push it; our own `?hash=` may stand behind it. */
function pushedNarName(info: NarInfo): NarName {
  const name = /^nar\/([^/?]+)(?:\?hash=[0-9a-z]{32})?$/.exec(info.url)?.[1] ?? '';
  if (isNarName(name)) return name;
  throw new CacheError(
    'invalid',
    `expected a narinfo URL of the form nar/<name>, found ${JSON.stringify(info.url)}`,
  );
}

function checkNarHash(name: NarName, found: string): void {
  if (hashInNarName(name) === found) return;
  throw new CacheError(
    'invalid',
    `nar/${name}: expected a body with the SHA-256 in its name, found ${found}`,
  );
}

function checkFits(info: NarInfo, nar: ObjectMeta): void {
  const plain = info.compression === 'none';
  const fits = (field: string, expected: string | number | undefined, found: string | number | undefined) => {
    if (expected === undefined || found === undefined || expected === found) return;
    throw new CacheError('invalid', `narinfo ${field} is ${expected}, but that of ${nar.path} is ${found}`);
  };
  fits('FileSize', info.fileSize, nar.size);
  fits('FileHash', info.fileHash && sha256ToHex(info.fileHash), nar.sha256);
  if (!plain) return;
  fits('NarSize', info.narSize, nar.size);
  fits('NarHash', sha256ToHex(info.narHash), nar.sha256);
}

/** Whether two narinfos are about the same bytes and references: all that signatures cover. */
function sameContent(a: NarInfo, b: NarInfo): boolean {
  const key = (info: NarInfo) =>
    [info.storePath, info.narHash, info.narSize, ...new Set([...info.references].sort())].join(' ');
  return key(a) === key(b);
}

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const tooLong = () =>
    new CacheError('too-large', `expected a narinfo of at most ${MAX_NARINFO_BYTES} bytes, found more`);
  return (await collect(body, MAX_NARINFO_BYTES, tooLong)).toString();
}
