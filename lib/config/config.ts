// What the service is told: one TOML file, every key optional, two of them also on the command line. The result
// is complete, normalised and frozen. All mistakes are reported at once, in one `config` error of a line each,
// and no message repeats a password.

import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CacheError, describe, isCacheError, isErrno } from '../errors.ts';
import { accessOf, addresses, push, token } from './access.ts';
import { substitute } from './environment.ts';
import { array, boolean, choice, integer, string, table } from './fields.ts';
import { Report } from './report.ts';
import { signing } from './signing.ts';
import { parseToml } from './syntax.ts';
import type { Config } from './types.ts';
import { DEFAULT_UPSTREAM, reportDuplicates, upstream } from './upstreams.ts';
import { parseDuration, parseListen, parsePath, parseSize, parseStoreDir } from './values.ts';

export type {
  AccessConfig,
  Config,
  Deadlines,
  GcConfig,
  Right,
  TlsConfig,
  UpstreamConfig,
} from './types.ts';
export type { Listen } from './values.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the text of a configuration file and no file; relative paths in it are taken from the folder of
 * `file`, `${NAME}` from `env`. Throws one `config` error with every mistake.
 */
export function parseConfig(text: string, { file, env = {} }: { file: string; env?: Environment }): Config {
  const folder = dirname(resolve(file));
  const raw = parseToml(text, file);
  const report = new Report(file, text);
  const parsed = substitute(raw, env, report);
  const path = string((path) => parsePath(path, folder));
  const delay = string((text) => parseDuration(text, 0));
  const timeout = string((text) => parseDuration(text, 1));
  const fields = {
    listen: string(parseListen),
    cache_dir: path,
    store_dir: string(parseStoreDir),
    priority: integer(0, 2 ** 31 - 1),
    want_mass_query: boolean,
    access_log: boolean,
    on_upstream_error: choice('error', 'miss'),
    hedge_delay: delay,
    negative_ttl: delay,
    connect_timeout: timeout,
    first_byte_timeout: timeout,
    stall_timeout: timeout,
    connections: integer(1, 16),
    max_connections: integer(2, 10_000),
    max_downloads: integer(1, 10_000),
    max_spool_size: string((text) => parseSize(text)),
    read_ahead: choice('all', 'narinfos', 'off'),
    upstreams: array(upstream(path), 'an array of tables, each under a header [[upstreams]]'),
    read: choice('anyone', 'token'),
    trusted_proxies: addresses,
    max_upload_size: string((text) => parseSize(text)),
    tokens: array(token(path), 'an array of tables, each under a header [[tokens]]'),
    push,
    gc: table({
      max_size: string((text) => parseSize(text)),
      max_age: string((text) => parseDuration(text, 3_600_000, '3650d')),
      min_free: string((text) => parseSize(text, 0)),
      keep_pushed: boolean,
      every: string((text) => parseDuration(text, 1000)),
    }),
    scrub: string((text) => parseDuration(text, 60_000, '3650d')),
    durability: choice('full', 'relaxed'),
    signing: signing(path),
    tls: table({ cert_file: path, key_file: path, client_ca_file: path }, ['cert_file', 'key_file']),
  };
  const values = table(fields)(parsed, { path: [], report, topKeys: Object.keys(fields) });
  reportDuplicates(values?.upstreams ?? [], report);
  const access = accessOf(
    {
      tokens: values?.tokens,
      from: values?.push?.from,
      read: values?.read,
      trustedProxies: values?.trusted_proxies,
    },
    report,
  );
  report.throwIfAny();
  const { gc, tls } = values ?? {};
  return deepFreeze({
    listen: values?.listen ?? { host: undefined, port: 8080 },
    cacheDir: values?.cache_dir ?? resolve(folder, 'cache'),
    storeDir: values?.store_dir ?? '/nix/store',
    priority: values?.priority ?? 30,
    wantMassQuery: values?.want_mass_query ?? true,
    accessLog: values?.access_log ?? true,
    onUpstreamError: values?.on_upstream_error ?? 'error',
    hedgeDelayMs: values?.hedge_delay ?? 300,
    negativeTtlMs: values?.negative_ttl ?? 60_000,
    deadlines: {
      connectMs: values?.connect_timeout ?? 5_000,
      firstByteMs: values?.first_byte_timeout ?? 10_000,
      stallMs: values?.stall_timeout ?? 20_000,
    },
    connections: values?.connections ?? 4,
    maxConnections: values?.max_connections ?? 128,
    maxDownloads: values?.max_downloads ?? 64,
    maxSpoolBytes: values?.max_spool_size ?? 32 * 2 ** 30,
    readAhead: values?.read_ahead ?? 'all',
    upstreams: values?.upstreams?.filter((one) => one !== undefined) ?? [DEFAULT_UPSTREAM],
    access,
    trustedKeys: values?.push?.trusted_keys?.filter((key) => key !== undefined) ?? [],
    maxUploadBytes: values?.max_upload_size ?? 32 * 2 ** 30,
    signing: values?.signing,
    gc: {
      maxBytes: gc?.max_size,
      maxAgeMs: gc?.max_age,
      minFreeBytes: gc?.min_free,
      keepPushed: gc?.keep_pushed ?? true,
      everyMs: gc?.every ?? 3_600_000,
    },
    scrubMs: values?.scrub,
    durability: values?.durability ?? 'full',
    tls:
      tls?.cert_file === undefined || tls.key_file === undefined
        ? undefined
        : { certFile: tls.cert_file, keyFile: tls.key_file, clientCaFile: tls.client_ca_file },
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
  env?: Environment;
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
  const { file, listen, cacheDir, cwd, env = process.env } = options;
  const path = resolve(cwd, file ?? 'cache.toml');
  const config = await attempt('', async () => {
    const text = await readText(path);
    if (text === undefined && file !== undefined) {
      throw new CacheError('config', `--config: found no file ${path}, expected one`);
    }
    return parseConfig(text ?? '', { file: path, env });
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
