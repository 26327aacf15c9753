// What the service adds to a miss: from the moment the upstream sends its first byte to the moment the client has one.
// Beside a bare relay, which shows how much of that is the wait for a processor of a machine that does other things too.
import type { Owner } from '../fixtures/defer.ts';
import { startService } from '../fixtures/service.ts';
import { Child } from './child.ts';
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
  const { port } = new URL(upstream.url);
  const relay = `http://127.0.0.1:${await new Child(t, 'relay').ask({ port })}`;

  /** Milliseconds from the upstream's first byte to the client's. */
  const late = async (base: string, path: string, sentAs: string): Promise<number> => {
    await upstream.sent();
    const { firstAt } = await clients.readOne(base, path);
    return firstAt - ((await upstream.sent()).firstAt[sentAs] ?? Number.NaN);
  };

  const figures: Figure[] = [];
  for (const { kind, size, count } of KINDS) {
    const added: number[] = [];
    const relayed: number[] = [];
    const direct: number[] = [];
    for (let i = 0; i < count; i++) {
      const { narInfoPath, narPath } = await upstream.make(`${size}-${i}`, size);
      const path = await narPathAt(service.url, narInfoPath);
      added.push(await late(service.url, path, narPath));
      relayed.push(await late(relay, narPath, narPath));
      direct.push(await late(upstream.url, narPath, narPath));
    }
    figures.push(figureOf(`${kind}, ${count} misses`, added, relayed, direct));
  }
  await service.stop();
  return figures;
}

function figureOf(
  what: string,
  added: readonly number[],
  relayed: readonly number[],
  direct: readonly number[],
): Figure {
  const show = (all: readonly number[]) =>
    `median ${milliseconds(median(all))}, 95 % ${milliseconds(percentile(95, all))}, 99 % ${milliseconds(percentile(99, all))}, worst ${milliseconds(Math.max(...all))}`;
  return {
    what: `first byte after the upstream's, ${what}`,
    measured: show(added),
    beside: `bare relay ${show(relayed)}; direct ${show(direct)}`,
    ratio: median(added) / median(relayed),
    // The relay's worst is what the machine, busy with something else, does to anybody.
    goal: {
      text: `worst <= ${GOAL_MS} ms more than the relay's`,
      share: (Math.max(...relayed) + GOAL_MS) / Math.max(...added),
    },
  };
}

function percentile(percent: number, values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.ceil((percent / 100) * values.length) - 1] ?? Number.NaN;
}
