// Which signatures can be judged: those by keys that the configuration names, for what came from an upstream by its own.
import type { Config } from '../config/config.ts';
import { isContentAddressed } from '../nix/content-address.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { keyName } from '../nix/sig.ts';
import { type Keys, readKeys, verify } from '../nix/signature.ts';

/** What names the keys. */
export type KeysConfig = Pick<Config, 'storeDir' | 'trustedKeys' | 'upstreams'>;

export class TrustedKeys {
  readonly #storeDir: string;
  readonly #byOrigin: ReadonlyMap<string, Keys>;
  readonly #all: Keys;

  constructor({ storeDir, trustedKeys, upstreams }: KeysConfig) {
    this.#storeDir = storeDir;
    this.#byOrigin = new Map([
      ...upstreams.map(({ publicKeys, url }) => [url, readKeys(publicKeys)] as const),
      ['push', readKeys(trustedKeys)],
    ]);
    this.#all = [...this.#byOrigin.values()].flat();
  }

  /**
   * What is to be said against the signatures of a narinfo from there; `vouched` is whether a key that is known has signed it
   * all the same.
   */
  judge(info: NarInfo, origin: string): { reason: string | undefined; vouched: boolean } {
    const vouched = verify(info, this.#all, this.#storeDir) !== undefined;
    const wrong = info.sigs.find((sig) => this.#isWrong(info, sig));
    if (wrong !== undefined) return { reason: `its signature by ${keyName(wrong)} does not verify`, vouched };
    const demanded = this.#byOrigin.get(origin) ?? [];
    if (demanded.length === 0 || isContentAddressed(info, this.#storeDir))
      return { reason: undefined, vouched };
    if (verify(info, demanded, this.#storeDir) !== undefined) return { reason: undefined, vouched };
    const names = [...new Set(demanded.map(({ name }) => name))].join(' or ');
    return { reason: `it has no signature by ${names}`, vouched };
  }

  #isWrong(info: NarInfo, sig: string): boolean {
    const name = keyName(sig);
    if (!this.#all.some((key) => key.name === name)) return false;
    return verify({ ...info, sigs: [sig] }, this.#all, this.#storeDir) === undefined;
  }
}
