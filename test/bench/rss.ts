// What the service takes of the machine's memory, above what a bare server of the same Node takes that does nothing: idle, with many
// who read slowly, and after a minute of each load. On the Node that runs this, and on those whose programs NODES names, with commas.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { fileOf } from '../../lib/store/folder/files.ts';
import { encodeHeader, HEADER_BYTES } from '../../lib/store/folder/header.ts';
import { idOf } from '../../lib/store/object-id.ts';
import { defer, type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { sha256 } from '../fixtures/nar.ts';
import { output } from '../fixtures/run.ts';
import { Clients } from './clients.ts';
import { type Bench, type Figure, MIB } from './figure.ts';
import { fillNars } from './fill.ts';
import { residentBytes } from './memory.ts';
import { startPinned, wrk } from './pinned.ts';

const SLOW = 200;
/** Bytes per second of each. */
const PACE = 200_000;
const GIB = 1024 * MIB;
const BARE = `require('node:http').createServer((_, res) => res.end()).listen(0, '127.0.0.1', () => console.log('up'))`;

export async function rss(t: Bench): Promise<Figure[]> {
  const nodes = [process.execPath, ...(process.env.NODES ?? '').split(',').filter((node) => node !== '')];
  const figures: Figure[] = [];
  for (const node of nodes) figures.push(...(await ofNode(t, node)));
  return figures;
}

async function ofNode(t: Bench, node: string): Promise<Figure[]> {
  const version = (await output(node, ['--version'])).trim();
  const measure = await wrk(t);
  const bare = await idleBytes(t, node);
  const dir = join(await temporaryFolder(t, 'rss'), 'cache');
  const small = fillNars(dir, 5000, 20_000);
  const large = fillNars(dir, 4, 30e6);
  const huge = await makeHuge(dir);
  const figures: Figure[] = [];
  const note = (what: string, bytes: number, most: number) => {
    const above = (bytes - bare) / MIB;
    figures.push({
      what: `memory, ${version}, ${what}`,
      measured: `${(bytes / MIB).toFixed(0)} MiB, ${above.toFixed(0)} above a bare server`,
      beside: `that idle ${(bare / MIB).toFixed(0)} MiB`,
      goal: { text: `<= ${most} MiB above`, share: most / Math.max(above, 1) },
    });
  };
  const seconds = t.short ? 5 : 60;
  const loads = [
    { what: 'small NARs', paths: small.map(({ narPath }) => narPath), connections: 32 },
    { what: 'narinfos', paths: small.map(({ narInfoPath }) => narInfoPath), connections: 32 },
    { what: 'NARs of 30 MB', paths: large.map(({ narPath }) => narPath), connections: 4 },
  ];
  // Each with a process of its own: nothing is left of the one before.
  const fresh = async (use: (service: Awaited<ReturnType<typeof startPinned>>) => Promise<void>) => {
    const service = await startPinned(t, { dir, node });
    await service.logged(/holding \d+ objects/);
    await delay(t.short ? 1000 : 5000);
    await use(service);
    await service.stop();
  };
  await fresh(async ({ pid }) => note('idle', await residentBytes(pid), 25));
  await fresh(async ({ pid, url }) => {
    const clients = new Clients(t);
    const reading = clients.read(url, huge, SLOW, { rate: PACE, leaveAfterMs: t.short ? 8000 : 30_000 });
    const most = await mostBytes(pid, reading);
    note(`${SLOW} slow readers of 1 GiB`, most, 110);
  });
  for (const { what, paths, connections } of loads) {
    await fresh(async ({ pid, url }) => {
      await measure({ url, paths, connections, seconds });
      note(`after ${seconds} s of ${what}`, await residentBytes(pid), 110);
    });
  }
  return figures;
}

async function mostBytes(pid: number, during: Promise<unknown>): Promise<number> {
  let most = 0;
  let isOver = false;
  const end = during.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    most = Math.max(most, await residentBytes(pid));
    await Promise.race([delay(200), end]);
  }
  await end;
  return most;
}

/** Of a server that has nothing to do. */
async function idleBytes(t: Owner, node: string): Promise<number> {
  const child = spawn(node, ['-e', BARE], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  defer(t, stop);
  await once(child.stdout, 'data');
  await delay(2000);
  const bytes = await residentBytes(child.pid as number);
  await stop();
  return bytes;
}

/** A NAR of a GiB that takes no room on the disk: nobody reads it to its end. The path of it. */
async function makeHuge(dir: string): Promise<string> {
  const path = `/nar/${encodeNix32(sha256('huge'))}.nar`;
  const meta = { path, kind: 'nar', origin: 'push', storedAt: new Date(), size: GIB } as const;
  const file = fileOf(dir, idOf(path));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, encodeHeader({ ...meta, sha256: sha256('huge').toString('hex') }));
  await truncate(file, HEADER_BYTES + GIB);
  return path;
}
