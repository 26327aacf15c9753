// The NARs behind pushed narinfos: whether they are what is said of them, and that they are kept like what was pushed.

import { ByteLru } from '../bytes/byte-lru.ts';
import { isDecodable } from '../bytes/codings.ts';
import { piecesOf, type Reader } from '../bytes/streams.ts';
import { CacheError } from '../errors.ts';
import { caContents } from '../nix/ca-contents.ts';
import { checkFits } from '../nix/fits.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { checkUnpacked } from '../nix/unpacked.ts';
import type { Storage } from '../store/storage.ts';
import type { ObjectMeta, StoredObject } from '../store/store.ts';
import { storeBody } from '../store/store-body.ts';
import { Slots } from '../sync/slots.ts';

/** NARs that are unpacked at once: each keeps a core busy. */
const UNPACKING = 2;
const UNPACKED = 10_000;
/** How many are remembered that wait for their narinfos, which clients push right behind them, and for how long. */
const LATELY = 1000;
const LATELY_MS = 5000;

/** A NAR that was pushed, by what is known of it without a look. */
type Pushed = Pick<ObjectMeta, 'path' | 'size' | 'sha256' | 'origin' | 'narHash'>;

export class PushedNars {
  readonly #storage: Pick<Storage, 'scratch' | 'store'>;
  readonly #unpacking = new Slots(UNPACKING);
  /** NARs that were unpacked and found to be what a narinfo said: their version, with that. */
  readonly #unpacked = new ByteLru<true>(UNPACKED);

  /** Those that were pushed a moment ago, by path, and when. */
  readonly #lately = new ByteLru<{ readonly meta: Pushed; readonly at: number }>(LATELY);

  constructor(storage: Pick<Storage, 'scratch' | 'store'>) {
    this.#storage = storage;
  }

  /** It has just been stored, whatever was there before. */
  stored(path: string, size: number, sha256: string): void {
    const meta = { path, size, sha256, origin: 'push', narHash: undefined };
    this.#lately.set(path, { meta, at: performance.now() }, 1);
  }

  /**
   * What is known of the NAR that a narinfo with this text names, where there is nothing more to be looked at: it was pushed a moment
   * ago, and can't be unpacked. Whether it is still here is not said.
   */
  lately(path: string, info: NarInfo): Pushed | undefined {
    const known = this.#lately.get(path);
    if (known === undefined || performance.now() - known.at > LATELY_MS || isReadFor(info)) return undefined;
    return known.meta;
  }

  /**
   * Whether the narinfo says of the NAR, which is closed, what is so.
   * @throws CacheError `invalid` if not
   */
  async check(info: NarInfo, nar: StoredObject, signal: AbortSignal): Promise<void> {
    try {
      checkFits(info, nar.meta);
      if (!isReadFor(info)) return;
      const address = caContents(info);
      const { compression, narHash, narSize } = info;
      const known = [
        nar.version,
        compression,
        narHash,
        narSize,
        address && `${info.storePath} ${info.ca}`,
      ].join(' ');
      // Several paths may share a NAR, and a narinfo may come again with another signature.
      if (this.#unpacked.get(known)) return;
      const leave = await this.#unpacking.acquire(signal);
      try {
        const pieces = unlessAborted(nar.reader(0, nar.meta.size), signal);
        await checkUnpacked(info.storePath, info, pieces, address);
      } finally {
        leave();
      }
      this.#unpacked.set(known, true, 1);
    } finally {
      await nar.close();
    }
  }

  /**
   * Has a NAR that came from elsewhere kept as if it had been pushed: what is pushed must not hang on what is not.
   * @throws CacheError `storage` or `damaged`
   */
  async own(path: string): Promise<void> {
    const object = await this.#storage.store.open(path);
    if (object === undefined) throw new CacheError('storage', `${path} does not stay in the store`);
    const { kind, narHash, sha256, size } = object.meta;
    const describe = (digest: Buffer) => {
      const found = digest.toString('hex');
      // A file that was checked a short while ago is not compared again while it is read.
      if (sha256 !== undefined && sha256 !== found) {
        throw new CacheError('damaged', `${path}: expected the SHA-256 ${sha256}, found ${found}`);
      }
      return { path, kind, origin: 'push', narHash };
    };
    try {
      const body = piecesOf(object.reader(0, size));
      await storeBody(this.#storage, body, describe, { when: 'always', durable: true });
    } finally {
      await object.close();
    }
  }
}

/** Whether the NAR must be read to know that it is what the narinfo says. */
function isReadFor(info: NarInfo): boolean {
  return info.compression === 'none' ? caContents(info) !== undefined : isDecodable(info.compression);
}

async function* unlessAborted(reader: Reader, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const piece of piecesOf(reader)) {
    signal.throwIfAborted();
    yield piece;
  }
}
