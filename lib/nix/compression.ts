// The compressions a narinfo may name, and the ending Nix gives a NAR's file for each.

const ENDINGS = {
  none: '',
  br: '.br',
  bzip2: '.bz2',
  compress: '',
  grzip: '',
  gzip: '',
  lrzip: '',
  lz4: '.lz4',
  lzip: '.lzip',
  lzma: '',
  lzop: '',
  xz: '.xz',
  zstd: '.zst',
} as const;

/** What may follow `.nar` in a name that Nix gives. */
export const NAR_ENDINGS: readonly string[] = Object.values(ENDINGS);

/** A compression that some Nix can unpack. */
export type Compression = keyof typeof ENDINGS;

/** Whether `text` names a compression that some Nix can unpack. */
export function isCompression(text: string): text is Compression {
  return Object.hasOwn(ENDINGS, text);
}

/** What follows `.nar` in names of our own. Unlike Nix we write rare ones out: nothing else tells two such files apart. */
export function extensionOf(compression: Compression): string {
  return ENDINGS[compression] || `.${compression}`;
}

/** The compression with that {@link extensionOf}. */
export function compressionBy(extension: string): Compression | undefined {
  return (Object.keys(ENDINGS) as Compression[]).find((one) => extensionOf(one) === extension);
}

/** What follows `.nar` in the file name; empty for `none` and the rare ones (nix/src/libstore/binary-cache-store.cc). */
export function endingOf(compression: Compression): string {
  return ENDINGS[compression];
}
