// What the crash test pushes and pulls: packages that are the same for the same seed, so that the process of the upstream
// and that of the clients know them without telling each other, and none has to be kept.
import { type Compression, type Key, makePackage, type Package, sha256 } from '../fixtures/nar.ts';
import { pick, randomSource } from '../fixtures/random.ts';

/** Large enough to be fetched over several connections. */
const LARGE_BYTES = 9 << 20;
const SMALL = 40;
const LARGE = 4;
const COMPRESSIONS: readonly Compression[] = ['none', 'none', 'gzip', 'gzip', 'br'];
/** Those that take a program of its own are rare. */
const RARE: readonly Compression[] = ['xz', 'bzip2'];

export const KEYS: readonly Key[] = ['a', 'b', 'c'].map((name) => ({ name, seed: sha256(name) }));

/** How to make a package again. */
export interface Recipe {
  readonly name: string;
  /** The same contents have the same seed, size and compression. */
  readonly contents: { readonly seed: string; readonly size: number; readonly compression: Compression };
}

export function drawRecipe(random: () => number, name: string, like?: Recipe): Recipe {
  const compression = pick(random, random() < 0.02 ? RARE : COMPRESSIONS);
  const size = Math.floor(random() ** 3 * 60_000);
  return { name, contents: like?.contents ?? { seed: name, size, compression } };
}

/** The package, signed by one of the keys. */
export function make({ contents, name }: Recipe, key: Key): Package {
  return makePackage(name, { ...contents, keys: [key] });
}

/** What the upstream has. */
export function upstreamGoods(seed: number): Package[] {
  const random = randomSource(seed);
  const small = Array.from({ length: SMALL }, (_, i) =>
    make(drawRecipe(random, `upstream-${seed}-${i}`), KEYS[0] as Key),
  );
  const large = Array.from({ length: LARGE }, (_, i) =>
    makePackage(`large-${seed}-${i}`, { size: LARGE_BYTES }),
  );
  return [...small, ...large];
}
