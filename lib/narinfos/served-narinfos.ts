// What becomes of a narinfo's text: read, mended where clients would stop, with an address of ours for its NAR, and signed where
// that is wanted.
import { hash as digest } from 'node:crypto';
import { ByteLru } from '../bytes/byte-lru.ts';
import { CacheError } from '../errors.ts';
import { addressOf, narNameOf } from '../nix/nar-names.ts';
import { mended, type NarInfo, parseNarInfo, withSigs, withUrl } from '../nix/narinfo.ts';
import type { NarName } from '../nix/object-name.ts';
import type { Realisation } from '../nix/realisation.ts';
import { keyName } from '../nix/sig.ts';
import type { Signer } from '../nix/signature.ts';
import { hashPartOf, type StoreHash } from '../nix/store-path.ts';
import type { ObjectMeta } from '../store/store.ts';
import type { Upstreams } from '../upstream/upstreams.ts';

/** A narinfo as it is held, and as it goes out. */
export interface KnownNarInfo {
  readonly info: NarInfo;
  /** As it was received. */
  readonly text: string;
  /** `push`, an upstream's URL, or `unknown`: see {@link ObjectMeta}. */
  readonly origin: string;
  /** The name under which its NAR is stored. */
  readonly narName: NarName;
  /** What clients get, a character for each byte (latin1): Node sends a text together with its head, which a Buffer is not. */
  readonly served: string;
  /** Of that, in hexadecimal. */
  readonly sha256: string;
  /** When it came here; undefined where clients get something else than what came, as after a change of keys. */
  readonly modified: Date | undefined;
}

/** What is signed, and by whom; undefined for nothing and nobody. */
export type Signing = { readonly signers: readonly Signer[]; readonly sign: 'pushed' | 'all' } | undefined;

/** There are few of them. */
const MAX_DERIVERS = 10_000;

interface ServedOptions {
  readonly upstreams: Upstreams;
  readonly storeDir: string;
  readonly signing: Signing;
}

export class ServedNarInfos {
  /** By their hash parts the whole names of derivations with a `?` in them, of which newer clients ask the log without what follows it. */
  readonly derivers = new ByteLru<string>(MAX_DERIVERS);
  readonly #options: ServedOptions;
  #signing: Signing;

  constructor(options: ServedOptions) {
    this.#options = options;
    this.#signing = options.signing;
  }

  /** From now on other things are signed, or by other keys. */
  reconfigure(signing: Signing): void {
    this.#signing = signing;
  }

  /**
   * `text` of `origin`, as it is served.
   * @throws CacheError `invalid`
   */
  know(
    hash: StoreHash,
    text: string,
    { origin, storedAt }: { readonly origin: string; readonly storedAt?: Date },
  ): KnownNarInfo {
    const info = parseNarInfo(text, this.#options.storeDir);
    if (info.hashPart !== hash) {
      throw new CacheError('invalid', `narinfo of ${hash} is about ${info.storePath}`);
    }
    if (info.deriver?.includes('?')) this.derivers.set(hashPartOf(info.deriver), info.deriver, 1);
    const pushed = origin === 'push';
    const narName = narNameOf(info, origin);
    const readable = mended(text, info, this.#options.storeDir, (name) => this.#isEd25519(name));
    const served = pushed ? readable : withUrl(readable, `nar/${addressOf(info)}`);
    const isSigned = pushed || this.#signing?.sign === 'all';
    const whole = isSigned ? withSigs(served, this.#ownSigs(info)) : served;
    const bytes = Buffer.from(whole);
    const sha256 = digest('sha256', bytes);
    const modified = whole === text ? storedAt : undefined;
    const isAscii = bytes.length === whole.length;
    return {
      info,
      text,
      origin,
      narName,
      served: isAscii ? whole : bytes.toString('latin1'),
      sha256,
      modified,
    };
  }

  #ownSigs(info: NarInfo): string[] {
    return (this.#signing?.signers ?? []).map((signer) => signer.sign(info, this.#options.storeDir));
  }

  /** What we sign of a realisation from there: what an upstream's keys should vouch for only if they do. */
  sigsOf({ fingerprint, sigs }: Realisation, origin: string): string[] {
    const { signers = [], sign } = this.#signing ?? {};
    const isSigned =
      origin === 'push' ||
      (sign === 'all' && this.#options.upstreams.byOrigin(origin)?.vouchesFor(fingerprint, sigs) === true);
    return isSigned ? signers.map((signer) => signer.signText(fingerprint)) : [];
  }

  /** Whether what comes from upstreams is signed too. */
  get signsAll(): boolean {
    return this.#signing?.sign === 'all';
  }

  /** Whether all keys of that name are ours, or an upstream's as the configuration has them. */
  #isEd25519(name: string): boolean {
    const { upstreams } = this.#options;
    const own = this.#signing?.signers.some(({ publicKey }) => keyName(publicKey) === name);
    return own || upstreams.all.some((upstream) => upstream.hasKey(name));
  }
}
