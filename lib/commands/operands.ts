// What stands on a command line: store paths and folders.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config/config.ts';
import { CacheError } from '../errors.ts';
import { hashIn } from '../gc/collect.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { parseUrl } from '../url.ts';

/**
 * The hash part of a store path on the command line.
 * @throws CacheError `config`
 */
export function hashOperand(storePath: string, { storeDir }: Pick<Config, 'storeDir'>): StoreHash {
  const hash = hashIn(storePath, storeDir);
  if (hash !== undefined) return hash;
  const expected = `a store path such as ${storeDir}/00000000000000000000000000000000-name, or its hash`;
  throw new CacheError('config', `found ${JSON.stringify(storePath)}, expected ${expected}`);
}

/**
 * A folder on the command line, also as Nix writes it: `file:///media/stick?compression=xz`.
 * @throws CacheError `config`
 */
export function folderOperand(text: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return resolve(text);
  const url = parseUrl(text);
  try {
    if (url?.protocol === 'file:') return fileURLToPath(url);
  } catch {}
  throw new CacheError('config', `found ${JSON.stringify(text)}, expected a folder such as /media/stick`);
}
