// The [[upstreams]] of the configuration.
import { array, boolean, type Check, integer, string, table } from './fields.ts';
import { knownKeys } from './known-keys.ts';
import { parseProxy } from './proxy.ts';
import type { Report } from './report.ts';
import type { UpstreamConfig } from './types.ts';
import { parsePublicKey, parseUpstreamUrl } from './values.ts';

const MAX_CONNECTIONS = 32;

export const DEFAULT_UPSTREAM: UpstreamConfig = {
  url: 'https://cache.nixos.org',
  credentials: undefined,
  proxy: undefined,
  caFile: undefined,
  publicKeys: knownKeys('https://cache.nixos.org'),
  maxConnections: MAX_CONNECTIONS,
  required: false,
};

/** One table of the array. Relative paths are read by `path`. */
export function upstream(path: Check<string>): Check<UpstreamConfig> {
  const keys = array(string(parsePublicKey), 'an array of public keys, each "name:base64"');
  const fields = {
    url: string(parseUpstreamUrl),
    proxy: string(parseProxy),
    ca_file: path,
    public_keys: keys,
    max_connections: integer(2, 256),
    required: boolean,
  };
  const check = table(fields, ['url']);
  return (value, place) => {
    const values = check(value, place);
    // A bad proxy must not hide that its upstream is listed twice.
    if (values?.url === undefined) return undefined;
    const publicKeys = values.public_keys?.filter((key) => key !== undefined) ?? knownKeys(values.url.url);
    const { proxy, ca_file: caFile, max_connections: maxConnections = MAX_CONNECTIONS } = values;
    const { required = false } = values;
    return { ...values.url, proxy, caFile, publicKeys, maxConnections, required };
  };
}

/** Each upstream may be there once. */
export function reportDuplicates(upstreams: readonly (UpstreamConfig | undefined)[], report: Report): void {
  const first = new Map<string, number>();
  upstreams.forEach((one, index) => {
    if (one === undefined) return;
    const before = first.get(one.url);
    if (before === undefined) first.set(one.url, index);
    else {
      const found = `found "${one.url}" again, which is upstreams[${before}].url`;
      report.add(['upstreams', index, 'url'], `${found}, expected each upstream once`);
    }
  });
}

/**
 * An upstream that the command line names: as it is configured, if it is, else with nothing but its URL.
 * @throws CacheError `config`
 */
export function upstreamAt(text: string, configured: readonly UpstreamConfig[]): UpstreamConfig {
  const { url, credentials } = parseUpstreamUrl(text);
  const known = configured.find((one) => one.url === url);
  if (known !== undefined) return credentials === undefined ? known : { ...known, credentials };
  const nothing = { proxy: undefined, caFile: undefined, publicKeys: [], required: false };
  return { url, credentials, maxConnections: MAX_CONNECTIONS, ...nothing };
}
