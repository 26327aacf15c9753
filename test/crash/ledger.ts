// What the clients know of what they pushed: what was acknowledged, what may or may not be there, and what was taken out.
import { field, type Package, sha256 } from '../fixtures/nar.ts';
import type { Recipe } from './goods.ts';

/** A NAR, which several paths may have. */
export interface Nar {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  /** Whether its own upload was acknowledged. */
  acknowledged: boolean;
  /** Whether one of its paths was to be removed: only another one, acknowledged, keeps it. */
  shaky: boolean;
}

export interface Entry {
  readonly recipe: Recipe;
  readonly storePath: string;
  readonly narInfoPath: string;
  /** All lines but its signatures. */
  readonly lines: string;
  readonly nar: Nar;
  readonly sent: Set<string>;
  readonly acknowledged: Set<string>;
  /** `unclear` while it is, or may have been, removed. */
  state: 'unclear' | 'acknowledged' | 'removed';
  /** Nobody pushes it any more: it is to be removed. */
  doomed: boolean;
  /** Uploads of it under way. */
  pushing: number;
}

export class Ledger {
  readonly entries: Entry[] = [];
  /** How many uploads were acknowledged. */
  acknowledgements = 0;
  readonly #nars = new Map<string, Nar>();
  readonly #byPath = new Map<string, Entry>();
  /** Pins by name: what a command that ended well has set; undefined where nobody knows. */
  readonly pins = new Map<string, string | undefined>();

  entryOf(recipe: Recipe, made: Package): Entry {
    const known = this.#byPath.get(made.narInfoPath);
    if (known !== undefined) return known;
    const entry: Entry = {
      ...{ recipe, storePath: made.storePath, narInfoPath: made.narInfoPath, nar: this.#narOf(made) },
      ...{ lines: withoutSigs(made.narInfo), sent: new Set<string>(), acknowledged: new Set<string>() },
      ...{ state: 'unclear' as const, doomed: false, pushing: 0 },
    };
    this.entries.push(entry);
    this.#byPath.set(made.narInfoPath, entry);
    return entry;
  }

  #narOf({ file, narPath }: Package): Nar {
    const known = this.#nars.get(narPath);
    if (known !== undefined) return known;
    const nar = { path: narPath, size: file.length, sha256: hex(file), acknowledged: false, shaky: false };
    this.#nars.set(narPath, nar);
    return nar;
  }

  /** Whether it must be there: it was acknowledged, or a path that was needs it. */
  mustHave(nar: Nar): boolean {
    if (nar.acknowledged && !nar.shaky) return true;
    return this.entries.some((one) => one.nar === nar && one.state === 'acknowledged');
  }

  get nars(): Iterable<Nar> {
    return this.#nars.values();
  }

  get acknowledged(): Entry[] {
    return this.entries.filter(({ state }) => state === 'acknowledged');
  }
}

export function hex(bytes: Uint8Array | string): string {
  return sha256(bytes).toString('hex');
}

function withoutSigs(narInfo: string): string {
  return narInfo.replace(/^Sig: .*\n/gm, '');
}

export function sigsOf(narInfo: string): string[] {
  return [...narInfo.matchAll(/^Sig: (.*)$/gm)].map(([, sig = '']) => sig);
}

/** What a client compares: all but the signatures and the URL's query, which is the service's own. */
export function comparable(narInfo: string): string {
  const name = field(narInfo, 'URL').replace(/\?.*$/, '');
  return withoutSigs(narInfo).replace(/^URL: .*$/m, `URL: ${name}`);
}
