// A closure that is not here yet, fetched by real Nix clients over a long line through the service, beside the same without
// it: direct, over HTTP/2.
import type { Owner } from '../fixtures/defer.ts';
import { startService } from '../fixtures/service.ts';
import { fetchClosure, type Shape, type Source, serveClosure, USUAL, type Way } from './closure.ts';
import { atLeast, type Benchmark, type Figure, median, seconds } from './figure.ts';
import { type Line, startLine } from './line.ts';

interface Trial {
  readonly version: '2.8' | '2.34';
  readonly way: Way;
  readonly line: Line;
  readonly goal: number;
  /** How often each is done. */
  readonly rounds: number;
}

const LINE: Line = { roundTripMs: 200 };

/** With Nix 2.34, which asks for sixteen NARs at once. */
export const cold: Benchmark = (t) =>
  measure(t, USUAL, [{ version: '2.34', way: 'build', line: LINE, goal: 3, rounds: 3 }]);

/** With what asks for one thing after the other, which takes minutes without the service. */
export const coldSlow: Benchmark = (t) =>
  measure(t, USUAL, [
    { version: '2.8', way: 'build', line: LINE, goal: 20, rounds: 1 },
    { version: '2.34', way: 'copy', line: LINE, goal: 20, rounds: 1 },
    { version: '2.8', way: 'copy', line: LINE, goal: 20, rounds: 1 },
  ]);

/** Over narrower lines, with NARs that are felt there. */
export const coldLines: Benchmark = (t) => {
  const trials: Trial[] = [
    { version: '2.34', way: 'build', line: { roundTripMs: 200, mbitPerSecond: 20 }, goal: 1.3, rounds: 3 },
  ];
  for (const mbitPerSecond of [5, 20, 100])
    for (const roundTripMs of [20, 200, 400])
      trials.push({
        version: '2.34',
        way: 'build',
        line: { roundTripMs, mbitPerSecond },
        goal: 1,
        rounds: 1,
      });
  return measure(t, USUAL, trials);
};

async function measure(t: Owner, shape: Shape, trials: readonly Trial[]): Promise<Figure[]> {
  const source = await serveClosure(t, shape);
  const figures: Figure[] = [];
  for (const trial of trials) figures.push(await measureOne(t, source, trial));
  return figures;
}

async function measureOne(t: Owner, source: Source, trial: Trial): Promise<Figure> {
  const { goal, line, rounds, version, way } = trial;
  const upstream = `https://127.0.0.1:${await startLine(t, source.port, line)}`;
  const [direct, through]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    direct.push(await fetchClosure(t, version, way, upstream, source));
    const service = await startService(t, {
      config: `[[upstreams]]\nurl = "${upstream}"\nca_file = "${source.caFile}"\n`,
    });
    through.push(await fetchClosure(t, version, way, service.url, source));
    await service.stop();
  }
  const rate = line.mbitPerSecond === undefined ? '' : `, ${line.mbitPerSecond} Mbit/s for all`;
  return {
    what: `cold closure of ${source.count} paths, Nix ${version} ${way === 'build' ? 'build' : 'copy --from'}, ${line.roundTripMs} ms${rate}`,
    measured: `median ${seconds(median(through))}`,
    beside: `direct from ${source.nginx} over HTTP/2 ${seconds(median(direct))}`,
    ...atLeast(median(direct) / median(through), goal),
  };
}
