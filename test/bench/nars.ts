// NARs that are here, small and large, beside nginx as a cache that has them all: what the service makes of one core. Then what
// others feel of NARs that saturate it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../fixtures/defer.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import type { Question } from './bare.ts';
import { Child } from './child.ts';
import { Clients } from './clients.ts';
import { pin } from './core-time.ts';
import { atLeast, atMost, type Bench, type Figure, median, milliseconds, seconds } from './figure.ts';
import { fillNars } from './fill.ts';
import { ask, type Load, startCachingNginx, startPinned, type Target, wrk } from './pinned.ts';

interface Trial {
  readonly what: string;
  readonly packages: number;
  readonly bytes: number;
  readonly connections: number;
  readonly tls?: boolean;
  readonly least: number;
  readonly rateOf: (load: Load) => number;
  readonly show: (rate: number) => string;
}

const perSecond = (rate: number) => `${rate.toFixed(0)}/s`;
const megabytes = (rate: number) => `${(rate / 1e6).toFixed(0)} MB/s`;
const LARGE = {
  ...{ packages: 4, bytes: 30e6, connections: 4 },
  rateOf: (load: Load) => load.bytesPerSecond,
  show: megabytes,
};

export async function smallNars(t: Bench): Promise<Figure[]> {
  return beside(t, {
    what: 'small NARs, 5000 of 20 kB, hits, one core',
    ...{ packages: 5000, bytes: 20_000, connections: 32, least: 2.5 },
    rateOf: (load) => load.perSecond,
    show: perSecond,
  });
}

export async function largeNars(t: Bench): Promise<Figure[]> {
  return [
    ...(await beside(t, { what: 'NARs of 30 MB, 4 connections, one core', ...LARGE, least: 1.9 })),
    ...(await beside(t, { what: 'the same under TLS', ...LARGE, least: 1, tls: true })),
  ];
}

async function beside(t: Bench, trial: Trial): Promise<Figure[]> {
  const measure = await wrk(t);
  const home = trial.tls === true ? await certificate(t) : undefined;
  const dir = join(await temporaryFolder(t, 'nars'), 'cache');
  const paths = fillNars(dir, trial.packages, trial.bytes).map(({ narPath }) => narPath);
  const service = await startPinned(t, { dir, ...(home === undefined ? {} : { home }) });
  const nginx = await startCachingNginx(t, service.url, paths, home);
  const bare = trial.tls === true ? undefined : await startBare(t, service.url, paths);
  const load = { paths, connections: trial.connections, seconds: t.short ? 2 : 5 };
  const urls = [service.url, nginx.url, ...(bare === undefined ? [] : [bare])];
  const [ours, theirs, alone] = await inTurn(
    urls.map((url) => async (warming: boolean) => {
      const target: Target = { ...load, url, ...(warming && !t.short ? { seconds: 10 } : {}) };
      return trial.rateOf(await measure(target));
    }),
    t.short ? 1 : 4,
  );
  await nginx.stop();
  await service.stop();
  const [rate, other] = [median(ours ?? []), median(theirs ?? [])];
  return [
    {
      what: trial.what,
      measured: trial.show(rate),
      beside: `${nginx.version}, a filled cache ${trial.show(other)}${
        alone === undefined ? '' : `, node:http alone, from memory ${trial.show(median(alone))}`
      }`,
      ...atLeast(rate / other, trial.least),
    },
  ];
}

/** A handler of node:http that does nothing but send the same; it has all of it in memory. */
async function startBare(t: Bench, base: string, paths: readonly string[]): Promise<string> {
  const child = new Child(t, 'bare');
  const question: Question = { base, paths };
  const port = await child.ask(question);
  await pin(child);
  return `http://127.0.0.1:${port}`;
}

/** Each once to warm up, then all in turn. */
async function inTurn(
  all: readonly ((warming: boolean) => Promise<number>)[],
  rounds: number,
): Promise<number[][]> {
  for (const one of all) await one(true);
  const rates: number[][] = all.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const [i, one] of all.entries()) rates[i]?.push(await one(false));
  return rates;
}

async function certificate(t: Bench): Promise<string> {
  const home = await temporaryFolder(t, 'certificate');
  const { cert, key } = makeAuthority().issue('IP:127.0.0.1');
  await writeFile(join(home, 'cert.pem'), cert);
  await writeFile(join(home, 'key.pem'), key);
  return home;
}

const STREAMS = 8;
const CROWD = 200;

/** What others feel: narinfos while NARs stream, and each of many who read NARs. */
export async function crowdedNars(t: Bench): Promise<Figure[]> {
  const measure = await wrk(t);
  const dir = join(await temporaryFolder(t, 'nars'), 'cache');
  const packages = fillNars(dir, CROWD, 5e6);
  const service = await startPinned(t, { dir });
  const nars = packages.map(({ narPath }) => narPath);
  const narInfos = packages.map(({ narInfoPath }) => narInfoPath);
  await ask(
    t,
    [...narInfos, ...nars].map((path) => `${service.url}${path}`),
  );
  const { url } = service;
  const rounds = t.short ? 1 : 3;
  const p99s: number[] = [];
  let rate = 0;
  for (let round = 0; round < rounds; round++) {
    const streams = measure({ url, paths: nars, connections: STREAMS, seconds: 6 });
    const hits = await measure({ url, paths: narInfos, connections: 1, seconds: 4, first: true });
    p99s.push(hits.p99);
    rate = (await streams).bytesPerSecond;
  }
  const clients = new Clients(t);
  const spreads: number[] = [];
  let middle = 0;
  for (let round = 0; round < rounds; round++) {
    const reads = await Promise.all(nars.map((path) => clients.readOne(url, path)));
    const times = reads.map(({ beganAt, endedAt }) => endedAt - beganAt);
    middle = median(times);
    spreads.push(Math.max(...times) / middle);
  }
  await service.stop();
  const p99 = median(p99s);
  const goal = { text: '<= 5 ms', share: 5 / p99 };
  return [
    {
      what: `narinfo hits while ${STREAMS} NARs stream, one core, 99 %`,
      measured: milliseconds(p99),
      beside: `${megabytes(rate)} of NARs`,
      goal,
    },
    {
      what: `${CROWD} clients on ${CROWD} NARs of 5 MB, one core: the slowest`,
      measured: seconds(median(spreads) * middle),
      beside: `the one in the middle ${seconds(middle)}`,
      ...atMost(median(spreads), 2),
    },
  ];
}
