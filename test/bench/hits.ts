// Hits beside nginx, which sends the same files from the same folder: what asking this service costs more than asking a
// web server.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Owner } from '../fixtures/defer.ts';
import { output } from '../fixtures/run.ts';
import { startService } from '../fixtures/service.ts';
import { locate } from '../system/fixtures/need.ts';
import { Clients, narPathAt } from './clients.ts';
import { type Figure, MIB } from './figure.ts';
import { startNginx } from './nginx.ts';
import { configOf, startUpstream } from './upstream.ts';

const NAR_BYTES = 64 * MIB;
const CLIENTS = 16;
const SECONDS = 4;

/** How many requests per second are answered, at `CLIENTS` at once. */
type Load = (base: string, path: string) => Promise<number>;

export async function hits(t: Owner): Promise<Figure[]> {
  const clients = new Clients(t);
  const upstream = await startUpstream(t);
  const service = await startService(t, { config: configOf([upstream]) });
  const { narInfoPath, narPath: storedAs } = await upstream.make('hit', NAR_BYTES);
  const narPath = await narPathAt(service.url, narInfoPath);
  await clients.readOne(service.url, narPath);

  const wrk = locate('wrk');
  const load: Load =
    wrk === undefined ? (...what) => small(clients, ...what) : (...what) => run(wrk, ...what);
  const nginx = locate('nginx') === undefined ? undefined : await startNginx(t, service.dir);
  const figures: Figure[] = [];
  for (const { what, path, stored, show } of [
    {
      what: 'narinfo hits',
      ...{ path: narInfoPath, stored: narInfoPath },
      show: (rate: number) => `${rate.toFixed(0)}/s`,
    },
    {
      what: 'NAR hits, 64 MiB',
      ...{ path: narPath, stored: storedAs },
      show: (rate: number) => `${((rate * NAR_BYTES) / 1e6).toFixed(0)} MB/s`,
    },
  ]) {
    const rate = await load(service.url, path);
    const beside = nginx === undefined ? undefined : await load(nginx, fileOf(stored));
    figures.push({
      what: `${what}, ${CLIENTS} clients (${wrk === undefined ? 'own client' : 'wrk'})`,
      measured: show(rate),
      beside: beside === undefined ? 'nginx is not installed' : `nginx, one worker ${show(beside)}`,
      ...(beside === undefined ? {} : { ratio: rate / beside }),
    });
  }
  await service.stop();
  return figures;
}

/** Where the store has it: see docs/operate.md, "The cache folder". */
function fileOf(path: string): string {
  const name = createHash('sha256').update(path).digest('hex');
  return `/${join(name.slice(0, 2), name)}`;
}

async function run(wrk: string, base: string, path: string): Promise<number> {
  const text = await output(wrk, [
    '-t1',
    `-c${CLIENTS}`,
    `-d${SECONDS}s`,
    '--timeout',
    '30s',
    `${base}${path}`,
  ]);
  if (/Non-2xx/.test(text)) throw new Error(`wrk ${base}${path}:\n${text}`);
  const [, rate] = /Requests\/sec:\s+([\d.]+)/.exec(text) ?? [];
  if (rate === undefined) throw new Error(`wrk said:\n${text}`);
  return Number(rate);
}

/** Without wrk: rounds of clients with a connection each. */
async function small(clients: Clients, base: string, path: string): Promise<number> {
  const started = performance.now();
  let count = 0;
  for (; performance.now() - started < SECONDS * 1000; count += CLIENTS) {
    await clients.read(base, path, CLIENTS);
  }
  return (count / (performance.now() - started)) * 1000;
}
