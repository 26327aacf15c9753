// The service, put together from its configuration and taken apart again.
import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Cache } from './cache.ts';
import { checkAuthority } from './certificates.ts';
import type { Config, Deadlines, UpstreamConfig } from './config.ts';
import { NarInfos, type Signing } from './download/narinfos.ts';
import { CacheError, describe } from './errors.ts';
import { Access } from './http/auth.ts';
import { createHandler } from './http/handler.ts';
import { startServer } from './http/server.ts';
import { Collector } from './keep/collector.ts';
import type { Log } from './log.ts';
import { loadSecrets, type Secrets } from './secrets.ts';
import { FolderStore } from './store/folder-store.ts';
import { type PushRules, Uploads } from './upload.ts';
import { Breakers } from './upstream/breaker.ts';
import { Upstream } from './upstream/upstream.ts';
import { Upstreams } from './upstream/upstreams.ts';

export interface Service {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  /**
   * Takes over tokens, keys, certificates and the rules for who may do what; whatever else differs waits for a new start.
   * @throws CacheError `config`; then everything stays as it was
   */
  reload(config: Config): Promise<void>;
  /** Lets running answers finish for `graceMs`, then ends everything. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts the service; it listens when this has resolved. `now` is its clock for what it believes for a while: milliseconds
 * from anywhere, never backwards.
 * @throws CacheError `config` or `startup`
 */
export async function startService(
  config: Config,
  log: Log,
  now: () => number = () => performance.now(),
): Promise<Service> {
  const { storeDir } = config;
  const secrets = await loadSecrets(config);
  const stopping = new AbortController();
  // Everything under way listens to it: that is no leak.
  setMaxListeners(0, stopping.signal);
  const breakers = new Breakers(log, now);
  const upstreams = new Upstreams(
    await Promise.all(config.upstreams.map((one) => createUpstream(one, config.deadlines, breakers))),
    { ...config, log, signal: stopping.signal, now },
  );
  const store = new FolderStore(config.cacheDir, log, config.durability);
  await store.prepare();
  const collector = new Collector({ store, config, log, signal: stopping.signal });
  const signing = signingOf(config, secrets);
  const options = { store, upstreams, storeDir, log, now, signing, signal: stopping.signal };
  const narInfos = new NarInfos(options);
  const cache = new Cache({ ...config, ...options }, narInfos);
  const { misses } = upstreams;
  const uploads = new Uploads({ store, narInfos, misses, storeDir, log, rules: pushRulesOf(config) });
  const access = new Access(config.access, secrets.tokens);
  const { stallMs } = config.deadlines;
  const handler = createHandler({ cache, uploads, cacheInfo: config, log, access, stallMs });
  const server = await startServer(config.listen, handler, secrets.tls);
  collector.start();
  return {
    url: server.url,
    reload: async (next) => {
      const fresh = await loadSecrets(next);
      const kindOf = ({ tls }: Secrets) => [tls !== undefined, tls?.clientCa !== undefined].join();
      if (kindOf(fresh) !== kindOf(secrets)) {
        throw new CacheError('config', '[tls] and its client_ca_file can come or go only at a new start');
      }
      if (fresh.tls !== undefined) server.replaceTls(fresh.tls);
      access.replace(next.access, fresh.tokens);
      uploads.replace(pushRulesOf(next));
      narInfos.resign(signingOf(next, fresh));
      for (const { publicKeys, url } of next.upstreams) upstreams.byOrigin(url)?.trust(publicKeys);
    },
    stop: async (graceMs) => {
      await server.stop(graceMs);
      // Only now: until here an answer may have depended on a download. The next start would not know of its rest.
      stopping.abort(new CacheError('aborted', 'the service is stopping'));
      await collector.idle();
      await cache.idle();
      await store.idle();
      upstreams.close();
    },
  };
}

function signingOf({ signing }: Config, { signer }: Secrets): Signing {
  return signing && signer && { signer, sign: signing.sign };
}

function pushRulesOf({ maxUploadBytes, trustedKeys }: Config): PushRules {
  return { trustedKeys, maxBytes: maxUploadBytes };
}

async function createUpstream(
  config: UpstreamConfig,
  deadlines: Deadlines,
  breakers: Breakers,
): Promise<Upstream> {
  const ca = config.caFile === undefined ? undefined : [await readAuthorities(config.caFile)];
  return new Upstream(config, { ca, deadlines, breakers });
}

async function readAuthorities(file: string): Promise<string> {
  try {
    const pem = await readFile(file, 'utf8');
    checkAuthority(pem);
    return pem;
  } catch (error) {
    throw new CacheError(
      'config',
      `ca_file ${file}: expected certificates in PEM form: ${describe(error)}`,
      error,
    );
  }
}
