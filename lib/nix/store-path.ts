// Names of store paths: `<32 digits of nix32>-<name>`, with or without the store directory before them.
// The rules are those of nix/src/libstore/path.cc.

declare const storeHash: unique symbol;
/** The hash part of a store path: 32 digits of nix32. */
export type StoreHash = string & { readonly [storeHash]: true };

const HASH = /^[0-9abcdfghijklmnpqrsvwxyz]{32}$/;
const BASENAME = /^[0-9abcdfghijklmnpqrsvwxyz]{32}-(?!\.\.?(?:-|$))[0-9A-Za-z+._?=-]{1,211}$/;

/** Whether `text` is the hash part of a store path. */
export function isStoreHash(text: string): text is StoreHash {
  return HASH.test(text);
}

/** Whether `text` is the last component of a store path, as References and Deriver hold it. */
export function isBasename(text: string): boolean {
  return BASENAME.test(text);
}

/** The hash part of a basename that passed {@link isBasename}. */
export function hashPartOf(basename: string): StoreHash {
  return basename.slice(0, 32) as StoreHash;
}

/** The basename of `path` in `storeDir`; undefined if it is no store path there. */
export function basenameIn(storeDir: string, path: string): string | undefined {
  if (!path.startsWith(`${storeDir}/`)) return undefined;
  const basename = path.slice(storeDir.length + 1);
  return isBasename(basename) ? basename : undefined;
}
