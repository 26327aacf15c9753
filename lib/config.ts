// What the service is told: one TOML file, every key optional, two of them also on the command line. The result
// is complete, normalised and frozen. All mistakes are reported at once, in one `config` error of a line each,
// and no message repeats a password.

import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { array, boolean, type Check, choice, integer, string, table } from './config/fields.ts';
import { knownKeys } from './config/known-keys.ts';
import { type Credentials, type ProxyServer, parseProxy } from './config/proxy.ts';
import { Report } from './config/report.ts';
import { parseToml } from './config/syntax.ts';
import {
  type Listen,
  parseDuration,
  parseListen,
  parsePath,
  parsePublicKey,
  parseStoreDir,
  parseUpstreamUrl,
} from './config/values.ts';
import { CacheError, describe, isCacheError, isErrno } from './errors.ts';
import type { PublicKey } from './nix/signature.ts';

export type { Credentials, Listen, ProxyServer };
export { parseListen };

export interface UpstreamConfig {
  /** Normalised: scheme and host in lower case, no default port, no slash at the end, no credentials. */
  readonly url: string;
  readonly credentials: Credentials | undefined;
  readonly proxy: ProxyServer | undefined;
  /** Absolute path of certificates to trust besides the usual ones. */
  readonly caFile: string | undefined;
  /** One of these must have signed a narinfo of this upstream; where there are none, nobody need have. */
  readonly publicKeys: readonly PublicKey[];
}

/** Milliseconds an upstream may take: to be connected through all handshakes, to answer, to stay silent. */
export interface Deadlines {
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly stallMs: number;
}

export interface Config {
  readonly listen: Listen;
  readonly cacheDir: string;
  readonly storeDir: string;
  readonly priority: number;
  readonly wantMassQuery: boolean;
  /** What is answered when no upstream has something and one of them failed: an error, or that it isn't there. */
  readonly onUpstreamError: 'error' | 'miss';
  /** How long an upstream may think about a narinfo before the next is asked too. */
  readonly hedgeDelayMs: number;
  /** How long a miss is remembered; 0 for not at all. */
  readonly negativeTtlMs: number;
  readonly deadlines: Deadlines;
  /** Connections at once for one large NAR. */
  readonly connections: number;
  readonly upstreams: readonly UpstreamConfig[];
}

const DEFAULT_UPSTREAM: UpstreamConfig = {
  url: 'https://cache.nixos.org',
  credentials: undefined,
  proxy: undefined,
  caFile: undefined,
  publicKeys: knownKeys('https://cache.nixos.org'),
};

/**
 * Reads the text of a configuration file and no file; relative paths in it are taken from the folder of
 * `file`. Throws one `config` error with every mistake.
 */
export function parseConfig(text: string, { file }: { file: string }): Config {
  const folder = dirname(resolve(file));
  const parsed = parseToml(text, file);
  const report = new Report(file, text);
  const path = string((path) => parsePath(path, folder));
  const delay = string((text) => parseDuration(text, 0));
  const timeout = string((text) => parseDuration(text, 1));
  const fields = {
    listen: string(parseListen),
    cache_dir: path,
    store_dir: string(parseStoreDir),
    priority: integer(0, 2 ** 31 - 1),
    want_mass_query: boolean,
    on_upstream_error: choice('error', 'miss'),
    hedge_delay: delay,
    negative_ttl: delay,
    connect_timeout: timeout,
    first_byte_timeout: timeout,
    stall_timeout: timeout,
    connections: integer(1, 16),
    upstreams: array(upstream(path), 'an array of tables, each under a header [[upstreams]]'),
  };
  const values = table(fields)(parsed, { path: [], report, topKeys: Object.keys(fields) });
  reportDuplicates(values?.upstreams ?? [], report);
  report.throwIfAny();
  return deepFreeze({
    listen: values?.listen ?? { host: undefined, port: 8080 },
    cacheDir: values?.cache_dir ?? resolve(folder, 'cache'),
    storeDir: values?.store_dir ?? '/nix/store',
    priority: values?.priority ?? 30,
    wantMassQuery: values?.want_mass_query ?? true,
    onUpstreamError: values?.on_upstream_error ?? 'error',
    hedgeDelayMs: values?.hedge_delay ?? 300,
    negativeTtlMs: values?.negative_ttl ?? 60_000,
    deadlines: {
      connectMs: values?.connect_timeout ?? 5_000,
      firstByteMs: values?.first_byte_timeout ?? 10_000,
      stallMs: values?.stall_timeout ?? 20_000,
    },
    connections: values?.connections ?? 4,
    upstreams: values?.upstreams?.filter((one) => one !== undefined) ?? [DEFAULT_UPSTREAM],
  });
}

/**
 * The configuration the service runs with: that of `file`, or of `cache.toml` in `cwd` if there is one, or the
 * defaults; `listen` and `cacheDir`, from the command line, go before it. Throws one `config` error with every
 * mistake.
 */
export async function loadConfig(options: {
  file: string | undefined;
  listen: string | undefined;
  cacheDir: string | undefined;
  cwd: string;
}): Promise<Config> {
  const problems: string[] = [];
  const attempt = async <T>(label: string, run: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await run();
    } catch (error) {
      if (!isCacheError(error, 'config')) throw error;
      problems.push(label + error.message);
      return undefined;
    }
  };
  const { file, listen, cacheDir, cwd } = options;
  const path = resolve(cwd, file ?? 'cache.toml');
  const config = await attempt('', async () => {
    const text = await readText(path);
    if (text === undefined && file !== undefined) {
      throw new CacheError('config', `--config: found no file ${path}, expected one`);
    }
    return parseConfig(text ?? '', { file: path });
  });
  const ownListen =
    listen === undefined ? config?.listen : await attempt('--listen: ', () => parseListen(listen));
  const ownCacheDir =
    cacheDir === undefined
      ? config?.cacheDir
      : await attempt('--cache-dir: ', () => parsePath(cacheDir, cwd));
  if (config === undefined || ownListen === undefined || ownCacheDir === undefined) {
    throw new CacheError('config', problems.join('\n'));
  }
  return deepFreeze({ ...config, listen: ownListen, cacheDir: ownCacheDir });
}

function upstream(path: Check<string>): Check<UpstreamConfig> {
  const keys = array(string(parsePublicKey), 'an array of public keys, each "name:base64"');
  const fields = {
    url: string(parseUpstreamUrl),
    proxy: string(parseProxy),
    ca_file: path,
    public_keys: keys,
  };
  const check = table(fields, ['url']);
  return (value, place) => {
    const values = check(value, place);
    // A bad proxy doesn't hide that its upstream is there twice.
    if (values?.url === undefined) return undefined;
    const publicKeys = values.public_keys?.filter((key) => key !== undefined) ?? knownKeys(values.url.url);
    return { ...values.url, proxy: values.proxy, caFile: values.ca_file, publicKeys };
  };
}

function reportDuplicates(upstreams: readonly (UpstreamConfig | undefined)[], report: Report): void {
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

/** The text of a file, undefined if there is none. */
async function readText(path: string): Promise<string | undefined> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw new CacheError('config', `${path}: can't be read: ${describe(error)}`, error);
  });
  if (bytes !== undefined && !isUtf8(bytes)) {
    throw new CacheError('config', `${path}: found bytes that are no UTF-8, expected TOML in UTF-8`);
  }
  return bytes?.toString();
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}
