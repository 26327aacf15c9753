// An upstream that is slow on every connection: how much faster several of them are.
import type { Owner } from '../fixtures/defer.ts';
import { startService } from '../fixtures/service.ts';
import { Clients, narPathAt } from './clients.ts';
import { atLeast, type Figure, MIB, seconds } from './figure.ts';
import { configOf, startUpstream, type Upstream } from './upstream.ts';

const SIZE = 64 * MIB;
/** Of the direct download: its pace is the same all along, so the rest is calculated. */
const DIRECT_SIZE = 8 * MIB;
const PER_CONNECTION = 1e6;

const CASES = [
  { connections: undefined, least: 3.5 },
  { connections: 8, least: 7 },
];

export async function connections(t: Owner): Promise<Figure[]> {
  const clients = new Clients(t);
  const upstream = await startUpstream(t, { perConnection: PER_CONNECTION });
  const part = await upstream.make('direct', DIRECT_SIZE);
  const { beganAt, endedAt } = await clients.readOne(upstream.url, part.narPath);
  const directMs = (endedAt - beganAt) * (SIZE / DIRECT_SIZE);
  const figures: Figure[] = [];
  for (const { connections, least } of CASES) {
    const ms = await through(t, clients, upstream, connections);
    figures.push({
      what: `64 MiB NAR from 1 MB/s per connection, ${connections ?? 'default'} connections`,
      measured: seconds(ms),
      beside: `direct, one connection ${seconds(directMs)} (from 8 MiB)`,
      ...atLeast(directMs / ms, least),
    });
  }
  return figures;
}

/** Milliseconds from asking for the narinfo to the last byte of the NAR. */
async function through(
  t: Owner,
  clients: Clients,
  upstream: Upstream,
  connections?: number,
): Promise<number> {
  const { narInfoPath } = await upstream.make(`through-${connections}`, SIZE);
  const keys = connections === undefined ? [] : [`connections = ${connections}`];
  const service = await startService(t, { config: configOf([upstream], ...keys) });
  const started = performance.now();
  await clients.readOne(service.url, await narPathAt(service.url, narInfoPath));
  const ms = performance.now() - started;
  await service.stop();
  return ms;
}
