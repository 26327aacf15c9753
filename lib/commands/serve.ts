// `serve`: builds the service from its configuration, runs it, and ends it in order.

import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Cache } from '../cache.ts';
import type { Config, UpstreamConfig } from '../config.ts';
import { NarInfos } from '../download/narinfos.ts';
import { CacheError, describe } from '../errors.ts';
import { createHandler } from '../http/handler.ts';
import { startServer } from '../http/server.ts';
import type { Log } from '../log.ts';
import { FolderStore } from '../store/folder-store.ts';
import { Uploads } from '../upload.ts';
import { Upstream } from '../upstream/upstream.ts';
import { Upstreams } from '../upstream/upstreams.ts';

/** How long running answers may go on once the service was told to stop. */
const GRACE_MS = 30_000;

/**
 * Serves until SIGTERM or SIGINT; a second signal does not wait for running answers.
 * @throws CacheError `config` or `startup`
 */
export async function serve(config: Config, log: Log): Promise<void> {
  const stopping = new AbortController();
  const upstreams = new Upstreams(await Promise.all(config.upstreams.map(createUpstream)));
  const store = new FolderStore(config.cacheDir, log);
  await store.prepare();
  const options = { store, upstreams, storeDir: config.storeDir, log, signal: stopping.signal };
  const narInfos = new NarInfos(options);
  const cache = new Cache(options, narInfos);
  const uploads = new Uploads({ store, narInfos, storeDir: config.storeDir, log });
  const server = await startServer(config.listen, createHandler({ cache, uploads, cacheInfo: config, log }));
  log.info(`listening on ${server.url}, keeping ${config.cacheDir}, asking ${describeUpstreams(config)}`);
  await stopSignal(log);
  await server.stop(GRACE_MS);
  stopping.abort(new CacheError('aborted', 'the service is stopping'));
  await cache.idle();
  upstreams.close();
  log.info('stopped');
}

async function createUpstream(config: UpstreamConfig): Promise<Upstream> {
  return new Upstream(
    config,
    config.caFile === undefined ? undefined : [await readAuthorities(config.caFile)],
  );
}

async function readAuthorities(file: string): Promise<string> {
  try {
    const pem = await readFile(file, 'utf8');
    new X509Certificate(pem);
    return pem;
  } catch (error) {
    throw new CacheError(
      'config',
      `ca_file ${file}: expected certificates in PEM form: ${describe(error)}`,
      error,
    );
  }
}

function describeUpstreams({ upstreams }: Config): string {
  const names = upstreams.map(({ url, proxy }) =>
    proxy === undefined ? url : `${url} through ${proxy.label}`,
  );
  return names.length === 0 ? 'no upstream' : names.join(', ');
}

/** Resolves at the first signal; the second one ends the process there and then. */
function stopSignal(log: Log): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    const stop = (signal: NodeJS.Signals) => {
      signals++;
      if (signals > 1) {
        log.warn(`${signal} again: stopping at once`);
        process.exit(1);
      }
      log.info(`${signal}: finishing running answers, for at most ${GRACE_MS / 1000} s`);
      resolve();
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
  });
}
