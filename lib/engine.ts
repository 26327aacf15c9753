// The cache without its HTTP: what the service serves, and what commands beside it read from and write to.
import { ReadAhead } from './ahead/read-ahead.ts';
import { Cache } from './cache/cache.ts';
import type { Config } from './config/config.ts';
import type { Secrets } from './config/secrets.ts';
import { Fetcher } from './download/fetcher.ts';
import type { Emit } from './events.ts';
import { NarInfos } from './narinfos/narinfos.ts';
import type { Signing } from './narinfos/served-narinfos.ts';
import { openFolder } from './store/folder/folder.ts';
import type { CacheStorage, Storage } from './store/storage.ts';
import { type PushRules, Uploads } from './upload/upload.ts';
import { createUpstreams } from './upstream/configured.ts';
import type { Upstreams } from './upstream/upstreams.ts';
import type { Resolver } from './wire/resolve.ts';

export interface Engine extends Storage {
  readonly storage: CacheStorage;
  readonly upstreams: Upstreams;
  readonly narInfos: NarInfos;
  readonly fetcher: Fetcher;
  readonly cache: Cache;
  readonly uploads: Uploads;
  /** Of a service: to be told what clients ask for. */
  readonly readAhead: ReadAhead;
  /** When nothing of it is under way; what its signal ends must have been told to. Connections are closed then. */
  close(): Promise<void>;
}

interface EngineContext {
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere, never backwards. */
  readonly now: () => number;
  /** Finds the addresses of names, if not the usual one. */
  readonly resolver?: Resolver | undefined;
  /** Instead of the folder that the configuration names. */
  readonly storage?: CacheStorage | undefined;
  /** Whether it fetches what nobody has asked for yet, as the configuration has it; a command does not. */
  readonly readsAhead?: boolean;
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
  emit: Emit,
  { signal, now, quiet = false, readsAhead = false, resolver, storage: given }: EngineContext,
): Promise<Engine> {
  const { storeDir } = config;
  const upstreams = await createUpstreams(config, { emit, signal, now, resolver });
  const storage = given ?? openFolder(config.cacheDir, emit, { ...config, quiet });
  const { scratch, store, upkeep } = storage;
  const options = {
    scratch,
    store,
    upstreams,
    storeDir,
    emit,
    now,
    signing: signingOf(config, secrets),
    signal,
  };
  const narInfos = new NarInfos(options);
  const fetcher = new Fetcher({ ...config, ...options, narInfos });
  const cache = new Cache({ storage, narInfos, fetcher, now });
  const readAhead = new ReadAhead({
    ...{ ...options, storage, narInfos, fetcher, gc: config.gc },
    readAhead: readsAhead ? config.readAhead : 'off',
  });
  const forget = (path: string) => {
    upstreams.misses.forget(path);
    fetcher.appeared(path);
  };
  const uploads = new Uploads({
    storage,
    narInfos,
    misses: { forget },
    storeDir,
    emit,
    rules: pushRulesOf(config),
  });
  const close = async () => {
    await cache.idle();
    await scratch.idle();
    upstreams.close();
  };
  const layers = { upstreams, narInfos, fetcher, readAhead, cache, uploads };
  return { storage, scratch, store, upkeep, ...layers, close };
}

export function signingOf(
  { signing }: Pick<Config, 'signing'>,
  { signers }: Pick<Secrets, 'signers'>,
): Signing {
  return signing && { signers, sign: signing.sign };
}

export function pushRulesOf({
  maxUploadBytes,
  trustedKeys,
}: Pick<Config, 'maxUploadBytes' | 'trustedKeys'>): PushRules {
  return { trustedKeys, maxBytes: maxUploadBytes };
}

type FolderConfig = Pick<Config, 'cacheDir' | 'durability'>;

/**
 * What is stored, for a command that needs no more than that.
 * @throws CacheError `startup` if there is no such folder
 */
export async function openStorage(config: FolderConfig, emit: Emit): Promise<CacheStorage> {
  const folder = openFolder(config.cacheDir, emit, config);
  await folder.check();
  return folder;
}

/** Runs a command that changes much of the store, so that a service beside it counts again. */
export function changing<T>(config: FolderConfig, emit: Emit, run: () => Promise<T>): Promise<T> {
  return openFolder(config.cacheDir, emit, config).upkeep.changing(run);
}
