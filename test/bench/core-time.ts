// Servers that have one core for themselves, loaded from the other one by wrk. What is measured is how many requests a server answers in
// a second of its core's time: on a machine that does nothing else that is its rate, and on another one still nearly so.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { output } from '../fixtures/run.ts';
import { locate } from '../system/fixtures/need.ts';

/** Before the command of a server. */
export const PINNED = ['taskset', '-c', '0'] as const;
const CLIENTS = 16;
/** `sysconf(_SC_CLK_TCK)` on every Linux. */
const TICKS = 100;

export interface Pinned {
  readonly url: string;
  readonly pid: number;
}

/** Puts a running process there, with all its threads. */
export async function pin({ pid }: { readonly pid: number }): Promise<void> {
  await output('taskset', ['-apc', '0', String(pid)]);
}

/** A script for wrk that asks for the paths in turn. */
export async function scriptOf(t: Owner, paths: readonly string[]): Promise<string> {
  const file = join(await temporaryFolder(t, 'wrk'), 'paths.lua');
  const list = paths.map((path) => `"${path}"`).join(',');
  await writeFile(
    file,
    `local paths = {${list}}\nlocal i = 0\nrequest = function()\n  i = i % #paths + 1\n  return wrk.format('GET', paths[i])\nend\n`,
  );
  return file;
}

interface Load {
  readonly requests: number;
  /** Of those, what did not get 200 or 304. */
  readonly others: number;
  readonly p99Ms: number;
}

/**
 * Before a command whose answers are timed while others load the same core: it goes before them, or it would measure how long it waits for
 * its own turn. Whoever may not go before others runs it as it is.
 */
export const FIRST = ['nice', '-n', '-19'];

/** Asks by that script for so many seconds; `first`: before others on its core. */
export async function load(
  url: string,
  script: string,
  seconds: number,
  clients = CLIENTS,
  first = false,
): Promise<Load> {
  const wrk = locate('wrk');
  if (wrk === undefined) throw new Error('wrk is not installed');
  const args = ['-t1', `-c${clients}`, `-d${seconds}s`, '--latency', '--timeout', '30s', '-s', script, url];
  const text = await output('taskset', ['-c', '1', ...(first ? FIRST : []), wrk, ...args]);
  const [, requests = ''] = /(\d+) requests in/.exec(text) ?? [];
  const [, others = '0'] = /Non-2xx or 3xx responses: (\d+)/.exec(text) ?? [];
  const [, p99 = '', unit = 'ms'] = /99%\s+([\d.]+)(us|ms|s)/.exec(text) ?? [];
  const scale = { us: 1e-3, ms: 1, s: 1e3 }[unit] ?? 1;
  if (requests === '' || p99 === '') throw new Error(`wrk said:\n${text}`);
  return { requests: Number(requests), others: Number(others), p99Ms: Number(p99) * scale };
}

/** Requests in a second of the server's core; `status`: what all of them are answered with. */
export async function rateOf(server: Pinned, script: string, seconds: number, status = 200): Promise<number> {
  const before = await cpuSeconds(server.pid);
  const { others, requests } = await load(server.url, script, seconds);
  const after = await cpuSeconds(server.pid);
  if (others !== (status < 400 ? 0 : requests))
    throw new Error(`${server.url}: ${others} of ${requests} are not ${status}`);
  return requests / (after - before);
}

async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}
