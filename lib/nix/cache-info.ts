// `nix-cache-info`: what a client learns about a binary cache when it opens it.

/** What the service says of itself. */
export interface CacheInfo {
  readonly storeDir: string;
  readonly wantMassQuery: boolean;
  readonly priority: number;
}

/** The text of the file. A missing Priority would mean 0, ahead of everything, so all three are always there. */
export function formatCacheInfo(info: CacheInfo): string {
  return `StoreDir: ${info.storeDir}\nWantMassQuery: ${info.wantMassQuery ? 1 : 0}\nPriority: ${info.priority}\n`;
}

/** The store directory that such a file names; undefined if it names none. */
export function storeDirOf(text: string): string | undefined {
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && line.slice(0, colon).trim() === 'StoreDir') return line.slice(colon + 1).trim();
  }
  return undefined;
}
