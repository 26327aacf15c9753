// A closure that is not here yet, fetched by real Nix clients over a long line through the service, beside the same without
// it: direct, over HTTP/2.
import type { Owner } from '../fixtures/defer.ts';
import { startService } from '../fixtures/service.ts';
import { startMicrosocks, startTinyproxy } from '../system/fixtures/real-proxy.ts';
import {
  fetchClosure,
  type Shape,
  type Source,
  serveClosure,
  USUAL,
  versionOf,
  type Way,
} from './closure.ts';
import { atLeast, type Bench, type Benchmark, type Figure, median, seconds } from './figure.ts';
import { type Line, startLine } from './line.ts';

/** A proxy of this machine, at the near end of the line, through which the service reaches its upstream. */
type Proxy = 'microsocks' | 'tinyproxy';

interface Trial {
  readonly version: '2.8' | '2.34';
  readonly way: Way;
  readonly line: Line;
  /** How many times faster than direct. */
  readonly goal: number;
  /** How often each is done, in turn. */
  readonly rounds: number;
  readonly proxy?: Proxy;
}

const LONG: Line = { roundTripMs: 200 };

const USUAL_TRIAL: Trial = { version: '2.34', way: 'build', line: LONG, goal: 3, rounds: 3 };

/** With Nix 2.34, which asks for sixteen NARs at once; then closures of other shapes. */
export const cold: Benchmark = async (t) => [
  ...(await measure(t, USUAL, [USUAL_TRIAL])),
  ...(t.short ? [] : await measure(t, { levels: 30, width: 20, bytes: 0 }, [{ ...USUAL_TRIAL, rounds: 1 }])),
  ...(t.short
    ? []
    : await measure(t, { levels: 4, width: 400, bytes: 0 }, [{ ...USUAL_TRIAL, goal: 1, rounds: 1 }])),
];

/** With what asks for one thing after the other, which takes minutes without the service. */
export const coldSlow: Benchmark = (t) =>
  measure(t, USUAL, [
    { version: '2.8', way: 'build', line: LONG, goal: 20, rounds: 1 },
    { version: '2.34', way: 'copy', line: LONG, goal: 20, rounds: 1 },
    { version: '2.8', way: 'copy', line: LONG, goal: 20, rounds: 1 },
  ]);

/** Over narrow lines, once with NARs that are felt there. */
export const coldLines: Benchmark = async (t) => {
  const narrow = { roundTripMs: 200, mbitPerSecond: 20 };
  const trials: Trial[] = [{ ...USUAL_TRIAL, line: narrow, goal: 1.3 }];
  for (const mbitPerSecond of [5, 20, 100])
    for (const roundTripMs of [20, 200, 400])
      trials.push({ ...USUAL_TRIAL, line: { roundTripMs, mbitPerSecond }, goal: 1, rounds: 1 });
  const heavy = { ...USUAL, bytes: 32_768 };
  return [
    ...(await measure(t, USUAL, trials)),
    ...(await measure(
      t,
      heavy,
      trials.slice(0, 1).map((one) => ({ ...one, goal: 1 })),
    )),
  ];
};

/** Through a SOCKS5 proxy and through CONNECT. */
export const coldProxies: Benchmark = (t) =>
  measure(
    t,
    USUAL,
    (['microsocks', 'tinyproxy'] as const).map((proxy) => ({ ...USUAL_TRIAL, proxy, rounds: 1 })),
  );

async function measure(t: Bench, shape: Shape, trials: readonly Trial[]): Promise<Figure[]> {
  const source = await serveClosure(t, shape);
  const figures: Figure[] = [];
  for (const trial of trials)
    figures.push(await measureOne(t, source, { ...trial, ...(t.short ? { rounds: 1 } : {}) }));
  return figures;
}

async function measureOne(t: Owner, source: Source, trial: Trial): Promise<Figure> {
  const { goal, line, proxy, rounds, version, way } = trial;
  const port = await startLine(t, source.port, line);
  const upstream = `https://127.0.0.1:${port}`;
  const config = [`[[upstreams]]`, `url = "${upstream}"`, `ca_file = "${source.caFile}"`];
  if (proxy !== undefined) config.push(`proxy = "${await startProxy(t, proxy, port)}"`);
  const [direct, through]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    direct.push(await fetchClosure(t, version, way, upstream, source));
    const service = await startService(t, { config: `${config.join('\n')}\n` });
    through.push(await fetchClosure(t, version, way, service.url, source));
    await service.stop();
  }
  const what = [
    `cold closure of ${source.count} paths, Nix ${version} ${way === 'build' ? 'build' : 'copy --from'}`,
    `${(source.narBytes / 1e6).toFixed(1)} MB of NARs, ${line.roundTripMs} ms`,
    ...(line.mbitPerSecond === undefined ? [] : [`${line.mbitPerSecond} Mbit/s for all`]),
    ...(proxy === undefined
      ? []
      : [`through ${proxy === 'tinyproxy' ? await versionOf(proxy, '-v') : proxy}`]),
  ];
  return {
    what: what.join(', '),
    measured: `median ${seconds(median(through))}`,
    beside: `direct from ${source.nginx} over HTTP/2 ${seconds(median(direct))}`,
    ...atLeast(median(direct) / median(through), goal),
  };
}

/** Its URL, with what it wants to hear. */
async function startProxy(t: Owner, proxy: Proxy, allowedPort: number): Promise<string> {
  if (proxy === 'tinyproxy') return `http://user:secret@127.0.0.1:${await startTinyproxy(t, allowedPort)}`;
  return `socks5://user:${encodeURIComponent('p@ss:wörd')}@127.0.0.1:${await startMicrosocks(t)}`;
}
