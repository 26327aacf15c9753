// Fifty clients read a gigabyte slowly while it arrives fast: whether the service holds for them what they have not read.
import { readFile } from 'node:fs/promises';
import type { Owner } from '../fixtures/defer.ts';
import { output } from '../fixtures/run.ts';
import { startService } from '../fixtures/service.ts';
import { Clients, narPathAt } from './clients.ts';
import { type Figure, MIB } from './figure.ts';
import { configOf, startUpstream } from './upstream.ts';

const SIZE = 1024 * MIB;
const READERS = 50;
/** Bytes per second of each. */
const PACE = 2e6;
const READ_MS = 15_000;
const SAMPLE_MS = 50;
const GOAL_BYTES = 64 * MIB;

export async function memory(t: Owner): Promise<Figure[]> {
  const clients = new Clients(t);
  const upstream = await startUpstream(t);
  const service = await startService(t, { config: configOf([upstream]) });
  const { narInfoPath } = await upstream.make('gigabyte', SIZE);
  const path = await narPathAt(service.url, narInfoPath);
  // A start counts what there is, in a thread whose memory is not the readers'.
  await service.logged(/holding \d+ objects/);
  const before = await residentBytes(service.pid);
  let most = before;
  let sampling: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    sampling = residentBytes(service.pid).then((now) => {
      most = Math.max(most, now);
    });
  }, SAMPLE_MS);
  const started = performance.now();
  try {
    await clients.read(service.url, path, READERS, { rate: PACE, leaveAfterMs: READ_MS });
  } finally {
    clearInterval(timer);
  }
  await sampling;
  const { bytes } = await upstream.sent();
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  await service.stop();
  const growth = most - before;
  return [
    {
      what: `memory with ${READERS} readers at 2 MB/s on one 1 GiB download, ${seconds} s`,
      measured: `grew by ${(growth / MIB).toFixed(0)} MiB to ${(most / MIB).toFixed(0)} MiB`,
      beside: `before ${(before / MIB).toFixed(0)} MiB, ${(bytes / MIB).toFixed(0)} MiB arrived`,
      ratio: growth / bytes,
      goal: { text: '< 64 MiB', share: bytes < SIZE ? 0 : GOAL_BYTES / growth },
    },
  ];
}

/** Of the process's memory, what is not in a file or swapped out. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(status ?? '') ?? [];
  return 1024 * Number(kib ?? (await output('ps', ['-o', 'rss=', '-p', String(pid)])));
}
