// The upstreams as the configuration has them, with the certificates that it names.
import { readFile } from 'node:fs/promises';
import { checkAuthority } from '../config/certificates.ts';
import type { Config, UpstreamConfig } from '../config/config.ts';
import { CacheError, describe } from '../errors.ts';
import { Resolver } from '../wire/resolve.ts';
import { Breakers } from './breaker.ts';
import { Connections } from './connections.ts';
import { Upstream, type UpstreamOptions } from './upstream.ts';
import { Upstreams, type UpstreamsOptions } from './upstreams.ts';
import { newInstance } from './via.ts';

/** What of the configuration is about upstreams. */
type Keys =
  | 'upstreams'
  | 'connections'
  | 'maxConnections'
  | 'deadlines'
  | 'hedgeDelayMs'
  | 'negativeTtlMs'
  | 'onUpstreamError';

/** @throws CacheError `config` for certificates that can't be used */
export async function createUpstreams(
  config: Pick<Config, Keys>,
  context: Pick<UpstreamsOptions, 'emit' | 'signal' | 'now'> & Pick<UpstreamOptions, 'resolver'>,
): Promise<Upstreams> {
  const {
    connections: parallel,
    deadlines,
    hedgeDelayMs,
    maxConnections,
    negativeTtlMs,
    onUpstreamError,
  } = config;
  const self = newInstance();
  const { resolver = new Resolver() } = context;
  const shared = {
    deadlines,
    parallel,
    self,
    resolver,
    breakers: new Breakers(context.emit, context.now),
    emit: context.emit,
    connections: new Connections(maxConnections),
  };
  const all = config.upstreams.map((one) => createUpstream(one, shared));
  const manner = { hedgeDelayMs, deadlines, negativeTtlMs, onUpstreamError };
  return new Upstreams(await Promise.all(all), { ...manner, ...context, self, resolver });
}

/** @throws CacheError `config` for certificates that can't be used */
export async function createUpstream(
  config: UpstreamConfig,
  shared: Omit<UpstreamOptions, 'ca'>,
): Promise<Upstream> {
  const ca = config.caFile === undefined ? undefined : [await readAuthorities(config.caFile)];
  return new Upstream(config, { ...shared, ca });
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
