// The service, put together from its configuration and taken apart again.
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Scrub } from './check/scrub.ts';
import type { Config } from './config/config.ts';
import { loadSecrets, type Secrets } from './config/secrets.ts';
import { createEngine, pushRulesOf, signingOf } from './engine.ts';
import { CacheError } from './errors.ts';
import { logSink } from './event-log.ts';
import { Collector } from './gc/collector.ts';
import { Access } from './http/auth.ts';
import { createHandler } from './http/handler.ts';
import { createHot } from './http/hot.ts';
import { PushToken } from './http/push-token.ts';
import { startServer } from './http/server.ts';
import type { Log } from './log.ts';
import type { CacheStorage } from './store/storage.ts';
import type { Resolver } from './wire/resolve.ts';

export interface Service {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Where it keeps what it stores, for people. */
  readonly keeps: string;
  /**
   * Takes over tokens, keys, certificates and the rules for who may do what; whatever else differs waits for a new start.
   * @throws CacheError `config`; then everything stays as it was
   */
  reload(config: Config): Promise<void>;
  /**
   * Lets running answers finish for `graceMs`, then ends everything. False if something does not end within `diskMs`, because the
   * disk it waits for hangs: only the end of the process ends that.
   */
  stop(graceMs: number, diskMs?: number): Promise<boolean>;
}

/** How long a stop waits for the disk: on one that is busy, many large beginnings may have to be kept. */
const DISK_MS = 10_000;

/** What tests put in the place of the machine's. */
export interface ServiceContext {
  /** The clock for what is believed for a while: milliseconds from anywhere, never backwards. */
  readonly now?: (() => number) | undefined;
  /** Finds the addresses of names. */
  readonly resolver?: Resolver | undefined;
  /** Instead of the folder that the configuration names. */
  readonly storage?: CacheStorage | undefined;
}

/**
 * Starts the service; it listens when this has resolved.
 * @throws CacheError `config` or `startup`
 */
export async function startService(
  config: Config,
  log: Log,
  { now = () => performance.now(), resolver, storage: given }: ServiceContext = {},
): Promise<Service> {
  const secrets = await loadSecrets(config);
  const emit = logSink(log, { requests: config.accessLog });
  const stopping = new AbortController();
  // Everything under way listens to this signal: that is no leak.
  setMaxListeners(0, stopping.signal);
  const engine = await createEngine(config, secrets, emit, {
    signal: stopping.signal,
    now,
    readsAhead: true,
    resolver,
    storage: given,
  });
  const { cache, narInfos, readAhead, storage, upkeep, uploads, upstreams } = engine;
  const hold = await storage.take(() => narInfos.recheck());
  const orLetGo = <T>(work: Promise<T>): Promise<T> =>
    work.catch(async (error) => {
      await hold.release();
      throw error;
    });
  // While the rest is put together: the first client need not wait for that.
  upstreams.prepare();
  const collector = new Collector({ storage, config, emit, signal: stopping.signal });
  const pushToken = new PushToken({
    netrc: storage.pushNetrc,
    host: config.listen.host,
    emit,
    signal: stopping.signal,
  });
  await pushToken.reconfigure(config.access);
  const access = new Access(config.access, secrets.tokens, stopping.signal, pushToken);
  const { stallMs } = config.deadlines;
  const handler = createHandler({
    cache,
    uploads,
    readAhead,
    cacheInfo: config,
    emit,
    access,
    stallMs,
    self: upstreams.self,
  });
  const hot = createHot({ access, cache, emit, readAhead });
  const server = await orLetGo(startServer(config.listen, handler, { hot, tls: secrets.tls }));
  pushToken.introduce(server.url);
  const scrub =
    config.scrubMs === undefined
      ? undefined
      : new Scrub({ upkeep, config, periodMs: config.scrubMs, emit, signal: stopping.signal });
  const counted = collector.start();
  // The scrub waits for the count: each reads all files.
  scrub?.start(counted);
  return {
    url: server.url,
    keeps: storage.label,
    reload: async (next) => {
      const fresh = await loadSecrets(next);
      const kindOf = ({ tls }: Secrets) => [tls !== undefined, tls?.clientCa !== undefined].join();
      if (kindOf(fresh) !== kindOf(secrets)) {
        throw new CacheError('config', '[tls] and its client_ca_file can come or go only at a new start');
      }
      if (fresh.tls !== undefined) server.reconfigure(fresh.tls);
      access.reconfigure(next.access, fresh.tokens);
      await pushToken.reconfigure(next.access);
      uploads.reconfigure(pushRulesOf(next));
      narInfos.reconfigure(signingOf(next, fresh));
      scrub?.reconfigure(next);
      upstreams.reconfigure(next.upstreams);
    },
    stop: async (graceMs, diskMs = DISK_MS) => {
      upstreams.hurry();
      await server.stop(graceMs);
      // Only now are downloads ended: until here an answer may have depended on one.
      stopping.abort(new CacheError('aborted', 'the service is stopping'));
      const quiet = Promise.all([server.idle(), collector.idle(), scrub?.idle()])
        .then(() => engine.close())
        .then(() => hold.release());
      const late = new AbortController();
      const hangs = delay(diskMs, false, { signal: late.signal }).catch(() => false);
      return Promise.race([quiet.then(() => true), hangs]).finally(() => late.abort());
    },
  };
}
