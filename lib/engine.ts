// The cache without its HTTP: what the service serves, and what commands beside it read from and write to.
import { Cache } from './cache.ts';
import type { Config } from './config/config.ts';
import type { Secrets } from './config/secrets.ts';
import type { Log } from './log.ts';
import { NarInfos } from './narinfos/narinfos.ts';
import type { Signing } from './narinfos/served-narinfos.ts';
import { FolderStore } from './store/folder/folder-store.ts';
import { type PushRules, Uploads } from './upload/upload.ts';
import { createUpstreams } from './upstream/configured.ts';
import type { Upstreams } from './upstream/upstreams.ts';
import type { Resolver } from './wire/resolve.ts';

export interface Engine {
  readonly store: FolderStore;
  readonly upstreams: Upstreams;
  readonly narInfos: NarInfos;
  readonly cache: Cache;
  readonly uploads: Uploads;
  /** When nothing of it is under way; what its signal ends must have been told to. Connections are closed then. */
  close(): Promise<void>;
}

interface EngineContext {
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere, never backwards. */
  readonly now: () => number;
  /** Finds the addresses of names, if not the usual one. */
  readonly resolver?: Resolver | undefined;
  /** Has what is read not count as used. */
  readonly quiet?: boolean;
}

/**
 * Puts it together; nothing is read of the folder, and nothing written.
 * @throws CacheError `config`
 */
export async function createEngine(
  config: Config,
  secrets: Secrets,
  log: Log,
  { signal, now, quiet = false, resolver }: EngineContext,
): Promise<Engine> {
  const { storeDir } = config;
  const upstreams = await createUpstreams(config, { log, signal, now, resolver });
  const store = new FolderStore(config.cacheDir, log, { ...config, quiet });
  const options = { store, upstreams, storeDir, log, now, signing: signingOf(config, secrets), signal };
  const narInfos = new NarInfos(options);
  const cache = new Cache({ ...config, ...options }, narInfos);
  const { misses } = upstreams;
  const uploads = new Uploads({ store, narInfos, misses, storeDir, log, rules: pushRulesOf(config) });
  const close = async () => {
    await cache.idle();
    await store.idle();
    upstreams.close();
  };
  return { store, upstreams, narInfos, cache, uploads, close };
}

export function signingOf({ signing }: Config, { signers }: Secrets): Signing {
  return signing && { signers, sign: signing.sign };
}

export function pushRulesOf({ maxUploadBytes, trustedKeys }: Config): PushRules {
  return { trustedKeys, maxBytes: maxUploadBytes };
}
