// Narinfos from memory and misses that are remembered, beside a handler of node:http that does nothing but send the same: what asking this
// service costs more than asking Node.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { get } from '../fixtures/client.ts';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { run } from '../fixtures/run.ts';
import { type Service, startService } from '../fixtures/service.ts';
import type { Question } from './bare.ts';
import { Child } from './child.ts';
import { narPathAt } from './clients.ts';
import { load, PINNED, type Pinned, pin, rateOf, scriptOf } from './core-time.ts';
import { atLeast, atMost, type Bench, type Figure, MIB, median, milliseconds } from './figure.ts';
import { fillFolder } from './fill.ts';
import { residentBytes } from './memory.ts';
import { startFileServer } from './nginx.ts';
import { configOf, startUpstream, type Upstream } from './upstream.ts';

const DISTINCT = 5000;
const MISSES = 500;
/** Of either in a short run: on a slow machine each must still be asked for more than once a second, or the disk is what is measured. */
const FEW = 100;
const NAR_BYTES = 64 * MIB;
const STREAMS = 8;
const GOAL_P99_MS = 5;
/** Above an idle node:http server. */
const GOAL_IDLE_BYTES = 25 * MIB;
const GOAL_BUSY_BYTES = 110 * MIB;

interface Row {
  readonly what: string;
  readonly server: Pinned;
  readonly paths: readonly string[];
  readonly least: number;
  readonly status?: number;
}

export async function hot(t: Bench): Promise<Figure[]> {
  const upstream = await startUpstream(t);
  const { paths, service: quiet } = await start(t, upstream, 'access_log = false');
  const { service: loud } = await start(t, upstream);
  const idle = await residentBytes(quiet.pid);
  const missing = paths
    .slice(0, MISSES)
    .map((path) => `/${path.slice(1, 33).split('').reverse().join('')}.narinfo`);
  const bare = await startBare(t, quiet.url, [...paths, ...missing]);
  const bareIdle = await residentBytes((await startBare(t, quiet.url, [])).pid);
  const nginx = await startFiles(t, quiet.url, paths);
  const rows: Row[] = [
    { what: 'distinct narinfos, no log', server: quiet, paths, least: 0.9 },
    { what: 'narinfo, no log', server: quiet, paths: paths.slice(0, 1), least: 0.9 },
    { what: 'distinct narinfos, with the log', server: loud, paths, least: 0.6 },
    {
      what: 'distinct misses asked before, no log',
      server: quiet,
      paths: missing,
      least: 0.9,
      status: 404,
    },
  ];
  const figures: Figure[] = [];
  for (const row of rows) figures.push(await compare(t, row, bare, nginx));
  // The others are no ratios, and say nothing on a machine that does other things too.
  if (t.short) return figures;
  figures.push(await delayed(t, upstream, quiet, paths));
  const grown = await residentBytes(quiet.pid);
  figures.push(
    above('memory when nothing is asked', idle, bareIdle, GOAL_IDLE_BYTES),
    above('memory after all that', grown, bareIdle, GOAL_BUSY_BYTES),
  );
  return figures;
}

/** A service with many narinfos of an upstream in its folder. */
async function start(
  t: Owner,
  upstream: Upstream,
  ...keys: string[]
): Promise<{ service: Service; paths: string[] }> {
  const dir = join(await temporaryFolder(t, 'narinfos'), 'cache');
  await mkdir(dir);
  const paths = fillFolder(dir, DISTINCT);
  const service = await startService(t, { dir, config: configOf([upstream], ...keys), before: PINNED });
  // What counts the folder is a thread of its own.
  await service.logged(/holding \d+ objects/);
  return { service, paths };
}

async function startBare(t: Owner, base: string, paths: readonly string[]): Promise<Pinned> {
  const child = new Child(t, 'bare');
  const question: Question = { base, paths };
  const port = await child.ask(question);
  await pin(child);
  return { url: `http://127.0.0.1:${port}`, pid: child.pid };
}

/** nginx, with the same narinfos as files. */
async function startFiles(
  t: Owner,
  base: string,
  paths: readonly string[],
): Promise<Pinned & { version: string }> {
  const folder = await temporaryFolder(t, 'files');
  // What stands in them does not matter, but how long they are.
  const { body } = await get(base, paths[0] as string);
  for (const path of paths) await writeFile(join(folder, path), body);
  const server = await startFileServer(t, folder, 'open_file_cache max=20000; open_file_cache_errors on;');
  await pin(server);
  const { stderr } = await run('nginx', ['-v']);
  return { ...server, version: stderr.trim().replace(/^.*: /, '') };
}

async function compare(
  t: Bench,
  { least, paths: all, server, status = 200, what }: Row,
  bare: Pinned,
  nginx: Pinned & { version: string },
): Promise<Figure> {
  const paths = t.short ? all.slice(0, FEW) : all;
  const script = await scriptOf(t, paths);
  const [seconds, rounds] = t.short ? [1, 1] : [3, 5];
  const rates = { own: [] as number[], bare: [] as number[], nginx: [] as number[] };
  // Until everything that is called often is compiled.
  for (const one of [server, bare]) await load(one.url, script, 2);
  for (let round = 0; round < rounds; round++) {
    rates.own.push(await rateOf(server, script, seconds, status));
    rates.bare.push(await rateOf(bare, script, seconds, status));
    rates.nginx.push(await rateOf(nginx, script, seconds, status));
  }
  const [own, beside, other] = [median(rates.own), median(rates.bare), median(rates.nginx)];
  const ratios = rates.own.map((rate, round) => rate / (rates.bare[round] as number));
  return {
    what: `${paths.length} ${what}, 16 clients (wrk), per second of a core`,
    measured: own.toFixed(0),
    beside: `node:http alone ${beside.toFixed(0)}, ${nginx.version} ${other.toFixed(0)}`,
    ...atLeast(median(ratios), least),
  };
}

/** How long a hit takes while others read large NARs as fast as the core can give them. */
async function delayed(
  t: Bench,
  upstream: Upstream,
  service: Service,
  paths: readonly string[],
): Promise<Figure> {
  const { narInfoPath } = await upstream.make('streamed', NAR_BYTES);
  const narPath = await narPathAt(service.url, narInfoPath);
  await get(service.url, narPath);
  const [narScript, script] = [await scriptOf(t, [narPath]), await scriptOf(t, paths.slice(0, 100))];
  const seconds = t.short ? 2 : 6;
  const streams = load(service.url, narScript, seconds + 2, STREAMS);
  const { p99Ms, requests } = await load(service.url, script, seconds, 1, true);
  const { requests: nars } = await streams;
  return {
    what: `narinfo hits while ${STREAMS} clients read NARs of 64 MiB, 99 % of ${requests}`,
    measured: milliseconds(p99Ms),
    beside: `${((nars * NAR_BYTES) / (seconds + 2) / 1e6).toFixed(0)} MB/s of NARs`,
    ...atMost(p99Ms, GOAL_P99_MS),
    ratio: p99Ms / GOAL_P99_MS,
  };
}

function above(what: string, bytes: number, bare: number, most: number): Figure {
  const mib = (some: number) => `${(some / MIB).toFixed(0)} MiB`;
  return {
    what: `${what} (Node ${process.versions.node})`,
    measured: mib(bytes),
    beside: `node:http alone, idle ${mib(bare)}`,
    goal: { text: `<= ${mib(most)} more`, share: most / Math.max(bytes - bare, 1) },
  };
}
