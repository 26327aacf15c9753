// One core for the server and the other for wrk, so that figures say what the server makes of a core; and nginx as a cache, which has
// all of it before it is measured.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { deadPort } from '../fixtures/origin.ts';
import { output, run } from '../fixtures/run.ts';
import { startService } from '../fixtures/service.ts';
import { locate } from '../system/fixtures/need.ts';
import { startNginx } from '../system/fixtures/nginx.ts';
import { FIRST } from './core-time.ts';

/** What runs a server on the one core, and what runs its clients on the other. */
export const SERVER = ['taskset', '-c', '0'];
const CLIENT = ['taskset', '-c', '1'];

const SCRIPT = `
local paths = {}
function init(args)
  for path in io.lines(args[1]) do paths[#paths + 1] = path end
  math.randomseed(os.time() + tonumber(args[2]))
end
function request() return wrk.format("GET", paths[math.random(#paths)]) end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"bytes":%d,"us":%d,"p99":%d,"failed":%d}\\n', summary.requests, summary.bytes,
    summary.duration, latency:percentile(99), errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
`;

export interface Load {
  readonly perSecond: number;
  readonly bytesPerSecond: number;
  /** Milliseconds. */
  readonly p99: number;
}

export interface Target {
  readonly url: string;
  readonly paths: readonly string[];
  readonly connections: number;
  readonly seconds: number;
  /** Whether its clients go before others on their core: see {@link FIRST}. */
  readonly first?: boolean;
}

/** What the server answers, asked for one of the paths after the other, at random, on so many connections. */
export type Measure = (target: Target) => Promise<Load>;

/** @throws Error without the programs that it takes */
export async function wrk(t: Owner): Promise<Measure> {
  for (const program of ['wrk', 'taskset'])
    if (locate(program) === undefined) throw new Error(`${program} is not installed`);
  const folder = await temporaryFolder(t, 'wrk');
  const script = join(folder, 'random.lua');
  await writeFile(script, SCRIPT);
  let measured = 0;
  return async ({ url, paths, connections, first = false, seconds }) => {
    const list = join(folder, `paths-${++measured}`);
    await writeFile(list, `${paths.join('\n')}\n`);
    const [command = '', ...rest] = CLIENT;
    const text = await output(command, [
      ...[
        ...rest,
        ...(first ? FIRST : []),
        'wrk',
        '-t1',
        `-c${connections}`,
        `-d${seconds}s`,
        '--timeout',
        '30s',
      ],
      ...['-s', script, url, '--', list, String(measured)],
    ]);
    const { requests, bytes, us, p99, failed } = JSON.parse(/^\{.*\}$/m.exec(text)?.[0] ?? '{}');
    if (!(requests > 0) || failed > 0) throw new Error(`wrk ${url}:\n${text}`);
    return { perSecond: requests / (us / 1e6), bytesPerSecond: bytes / (us / 1e6), p99: p99 / 1000 };
  };
}

/** With the certificate of `home`, where that is given. */
export interface Pinned {
  readonly dir: string;
  readonly home?: string;
  readonly node?: string;
}

/** The service on that folder, on the one core. */
export function startPinned(t: Owner, { dir, home, ...more }: Pinned) {
  const tls =
    home === undefined ? '' : `[tls]\ncert_file = "${home}/cert.pem"\nkey_file = "${home}/key.pem"\n`;
  return startService(t, { config: `upstreams = []\n${tls}`, dir, before: SERVER, ...more });
}

/** nginx, with its version: a cache before `upstream` that has all the paths, on the one core. */
export async function startCachingNginx(
  t: Owner,
  upstream: string,
  paths: readonly string[],
  home?: string,
): Promise<{ readonly url: string; readonly version: string; stop(): Promise<void> }> {
  const nginx = locate('nginx');
  if (nginx === undefined) throw new Error('nginx is not installed');
  const version = /nginx\/[\d.]+/.exec((await run(nginx, ['-v'])).stderr)?.[0] ?? 'nginx';
  const folder = await temporaryFolder(t, 'nginx-cache');
  const address = `127.0.0.1:${await deadPort()}`;
  const tls =
    home === undefined
      ? ''
      : `ssl_certificate ${home}/cert.pem; ssl_certificate_key ${home}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;`;
  const settings = `
    sendfile on; tcp_nopush on; keepalive_requests 1000000000;
    open_file_cache max=20000 inactive=1h; open_file_cache_valid 60s;
    proxy_cache_path ${folder}/cache levels=1:2 keys_zone=nars:50m max_size=20g inactive=1d use_temp_path=off;
    server {
      listen ${address}${home === undefined ? '' : ' ssl'}; ${tls}
      location / { proxy_pass ${upstream}; proxy_ssl_verify off; proxy_cache nars; proxy_cache_valid 200 1d; }
    }`;
  const { stop } = await startNginx(t, folder, `unix:${folder}/other`, settings, SERVER);
  const url = `${home === undefined ? 'http' : 'https'}://${address}`;
  await ask(
    t,
    paths.map((path) => `${url}${path}`),
  );
  return { url, version, stop };
}

/** Asks for each once. */
export async function ask(t: Owner, urls: readonly string[]): Promise<void> {
  const list = join(await temporaryFolder(t, 'urls'), 'list');
  await writeFile(list, urls.map((url) => `url = ${url}\noutput = /dev/null\n`).join(''));
  await output('curl', ['-sk', '--fail', '--noproxy', '*', '-K', list]);
}
