// Many clients who ask for one NAR at the same moment that nobody has asked for before: what that costs the upstream
// link, and the slowest of them.
import type { Owner } from '../fixtures/defer.ts';
import { startService } from '../fixtures/service.ts';
import { Clients, narPathAt } from './clients.ts';
import { atMost, type Figure, MIB, median, seconds } from './figure.ts';
import { configOf, startUpstream } from './upstream.ts';

const SIZE = 64 * MIB;
const CROWD = 50;
const ROUNDS = 3;
/** A link of 160 Mbit/s: 50 clients then get 1 GB/s together, which two cores can just send and receive. */
const LINK = 20e6;

export async function crowd(t: Owner): Promise<Figure[]> {
  const clients = new Clients(t);
  const upstream = await startUpstream(t, { total: LINK });
  const service = await startService(t, { config: configOf([upstream]) });
  const slowest = async (name: string, count: number): Promise<number> => {
    const { narInfoPath } = await upstream.make(name, SIZE);
    const path = await narPathAt(service.url, narInfoPath);
    await upstream.sent();
    const reads = await clients.read(service.url, path, count);
    return Math.max(...reads.map(({ beganAt, endedAt }) => endedAt - beganAt));
  };
  const singles: number[] = [];
  const crowds: number[] = [];
  let mostBytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    singles.push(await slowest(`single-${round}`, 1));
    crowds.push(await slowest(`crowd-${round}`, CROWD));
    mostBytes = Math.max(mostBytes, (await upstream.sent()).bytes);
  }
  await service.stop();
  const [single, crowd] = [median(singles), median(crowds)];
  return [
    {
      what: `${CROWD} clients on one cold 64 MiB NAR, from the upstream`,
      measured: `${(mostBytes / MIB).toFixed(2)} MiB`,
      beside: 'size 64 MiB',
      ...atMost(mostBytes / SIZE, 1.01),
    },
    {
      what: `${CROWD} clients on one cold 64 MiB NAR over a 20 MB/s link, the slowest`,
      measured: seconds(crowd),
      beside: `a single client ${seconds(single)} (medians of ${ROUNDS})`,
      ...atMost(crowd / single, 1.2),
    },
  ];
}
