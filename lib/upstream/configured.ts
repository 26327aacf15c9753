// The upstreams as the configuration has them, with the certificates that it names.
import { readFile } from 'node:fs/promises';
import { checkAuthority } from '../certificates.ts';
import type { Config, Deadlines, UpstreamConfig } from '../config.ts';
import { CacheError, describe } from '../errors.ts';
import { Breakers } from './breaker.ts';

import { Upstream } from './upstream.ts';
import { Upstreams, type UpstreamsOptions } from './upstreams.ts';

/** @throws CacheError `config` for certificates that can't be used */
export async function createUpstreams(
  config: Config,
  context: Pick<UpstreamsOptions, 'log' | 'signal' | 'now'>,
): Promise<Upstreams> {
  const breakers = new Breakers(context.log, context.now);
  const all = config.upstreams.map((one) => createUpstream(one, config.deadlines, breakers));
  return new Upstreams(await Promise.all(all), { ...config, ...context });
}

/** @throws CacheError `config` for certificates that can't be used */
export async function createUpstream(
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
