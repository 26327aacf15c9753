// What the service adds to a miss: from the moment the upstream sends its first byte to the moment the client has one.
import type { Owner } from '../test/fixtures/defer.ts';
import { startService } from '../test/fixtures/service.ts';
import { Clients, narPathAt } from './clients.ts';
import { type Figure, MIB, median, milliseconds } from './figure.ts';
import { configOf, startUpstream } from './upstream.ts';

/** Small ones are asked for as a whole, large ones in parts. */
const KINDS = [
  { kind: 'NAR of 1 MiB', size: MIB, count: 200 },
  { kind: 'NAR of 16 MiB', size: 16 * MIB, count: 30 },
];
const GOAL_MS = 10;

export async function firstByte(t: Owner): Promise<Figure[]> {
  const clients = new Clients(t);
  const upstream = await startUpstream(t, { total: 100e6, thinkMs: 5 });
  const service = await startService(t, { config: configOf([upstream]) });

  /** Milliseconds from the upstream's first byte to the client's. */
  const late = async (base: string, path: string, sentAs: string): Promise<number> => {
    await upstream.sent();
    const { firstAt } = await clients.readOne(base, path);
    return firstAt - ((await upstream.sent()).firstAt[sentAs] ?? Number.NaN);
  };

  const figures: Figure[] = [];
  for (const { kind, size, count } of KINDS) {
    const added: number[] = [];
    const direct: number[] = [];
    for (let i = 0; i < count; i++) {
      const { narInfoPath, narPath } = await upstream.make(`${size}-${i}`, size);
      const path = await narPathAt(service.url, narInfoPath);
      added.push(await late(service.url, path, narPath));
      direct.push(await late(upstream.url, narPath, narPath));
    }
    figures.push(figureOf(`${kind}, ${count} misses`, added, direct));
  }
  await service.stop();
  return figures;
}

function figureOf(what: string, added: readonly number[], direct: readonly number[]): Figure {
  // Not of the worst, which is printed beside it: that is a matter of what else the machine does.
  const most = percentile95(added);
  const show = (all: readonly number[]) =>
    `median ${milliseconds(median(all))}, 95 % ${milliseconds(percentile95(all))}, worst ${milliseconds(Math.max(...all))}`;
  return {
    what: `first byte after the upstream's, ${what}`,
    measured: show(added),
    beside: `direct ${show(direct)}`,
    ratio: median(added) / median(direct),
    goal: { text: `95 % <= ${GOAL_MS} ms`, reached: most <= GOAL_MS },
  };
}

function percentile95(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.ceil(0.95 * values.length) - 1] ?? Number.NaN;
}
