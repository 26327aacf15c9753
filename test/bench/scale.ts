// A folder of a million objects: how soon the service answers from it, how soon it knows how much it holds, and what a
// collection that looks at all of it, and removes a twentieth, costs whoever asks meanwhile. Takes some minutes, most of them to
// make the folder.
import { execFileSync } from 'node:child_process';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { get as fetchText } from '../fixtures/client.ts';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { field } from '../fixtures/nar.ts';
import { program } from '../fixtures/project.ts';
import { randomSource } from '../fixtures/random.ts';
import { output } from '../fixtures/run.ts';
import { type Service, startService } from '../fixtures/service.ts';
import { type Figure, MIB, median, milliseconds, seconds } from './figure.ts';
import { fillFolder } from './fill.ts';
import { residentBytes } from './memory.ts';

const PACKAGES = 500_000;
const START_MS = 300;
const COUNTED_MS = 60_000;
const P99_MS = 20;
const RM_MS = 1000;
const REMOVALS = 5;
const RESIDENT_BYTES = 300 * MIB;
/** How often a line of the log is waited for, two minutes each time. */
const PATIENCE = 5;
/** Between two requests of one client. */
const PACE_MS = 10;
const CLIENTS = 4;
/** Of what is there; the rest goes, and a little more. */
const MAX_SIZE = '1.85 GB';

export async function scale(t: Owner): Promise<Figure[]> {
  const dir = join(await temporaryFolder(t, 'scale'), 'cache');
  const filled = performance.now();
  const paths = fillFolder(dir, PACKAGES);
  const fillMs = performance.now() - filled;
  // A folder that grew over months is on the disk, and not on its way there.
  execFileSync('sync');
  const started = performance.now();
  const config = `upstreams = []\n[gc]\nmax_size = "${MAX_SIZE}"\nmin_free = "0 B"\n`;
  const service = await startService(t, { config, dir });
  await timeOf(service, paths[0] as string);
  const startMs = performance.now() - started;
  const load = new Load(service, paths);
  const countedMs = await loggedAfter(service, /holding (\d+) objects/, started);
  const collectedMs = await loggedAfter(service, /collection: removed (\d+) objects/, started);
  const { times, most } = await load.stop();
  const rmTimes = await removals(service, dir, paths);
  const rmMs = median(rmTimes);
  await service.stop();
  const p99 = times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN;
  const removed = /removed (\d+) objects/.exec(service.log())?.[1];
  const what = `${2 * PACKAGES} objects`;
  return [
    {
      what: `${what}: start to the first answer`,
      measured: `${startMs.toFixed(0)} ms`,
      beside: `made in ${seconds(fillMs)}`,
      goal: { text: `< ${START_MS} ms`, share: START_MS / startMs },
    },
    {
      what: `${what}: start until it is known how much there is`,
      measured: seconds(countedMs),
      beside: `${times.length} requests meanwhile and during the collection`,
      goal: { text: '< 60 s', share: COUNTED_MS / countedMs },
    },
    {
      what: `${what}: hits during the count and a collection that removed ${removed}, 99 %`,
      measured: milliseconds(p99),
      beside: `median ${milliseconds(times[times.length >> 1] ?? Number.NaN)}, collected ${seconds(collectedMs)} after the start`,
      goal: { text: `< ${P99_MS} ms`, share: P99_MS / p99 },
    },
    {
      what: `${what}: rm of one path, beside the service`,
      measured: milliseconds(rmMs),
      beside: `at most ${milliseconds(Math.max(...rmTimes))}, the start of Node and the program included`,
      goal: { text: '<= 1 s', share: RM_MS / rmMs },
    },
    {
      what: `${what}: memory`,
      measured: `${(most / MIB).toFixed(0)} MiB at most`,
      beside: 'all of the process',
      goal: { text: '< 300 MiB', share: RESIDENT_BYTES / most },
    },
  ];
}

/** Milliseconds that each of some removals takes. */
async function removals({ home, url }: Service, dir: string, paths: readonly string[]): Promise<number[]> {
  const times: number[] = [];
  for (const path of [...paths].reverse()) {
    if (times.length === REMOVALS) break;
    const { status, text } = await fetchText(url, path);
    // The collection has taken some.
    if (status !== 200) continue;
    const storePath = field(text, 'StorePath');
    const began = performance.now();
    const command = [program, 'rm', storePath, '--config', join(home, 'config.toml'), '--cache-dir', dir];
    const said = await output(process.execPath, command);
    times.push(performance.now() - began);
    if (!/removed its NAR/.test(said)) throw new Error(`rm ${storePath} said: ${said}`);
  }
  return times;
}

/** Clients who ask for narinfos all the while, each with a pause after each. */
class Load {
  readonly #times: number[] = [];
  readonly #ended: Promise<unknown>;
  #most = 0;
  #going = true;

  constructor(service: Service, paths: readonly string[]) {
    const agent = new Agent({ keepAlive: true });
    const random = randomSource(1);
    const client = async () => {
      while (this.#going) {
        const path = paths[Math.floor(random() * paths.length)] as string;
        this.#times.push(await timeOf(service, path, agent));
        await delay(PACE_MS);
      }
    };
    const watch = async () => {
      while (this.#going) {
        this.#most = Math.max(this.#most, await residentBytes(service.pid));
        await delay(50);
      }
    };
    this.#ended = Promise.all([...Array.from({ length: CLIENTS }, client), watch()]).finally(() =>
      agent.destroy(),
    );
  }

  async stop(): Promise<{ times: number[]; most: number }> {
    this.#going = false;
    await this.#ended;
    return { times: this.#times, most: this.#most };
  }
}

/** Milliseconds until the whole answer, whatever it is, is there. */
function timeOf(service: Service, path: string, agent?: Agent): Promise<number> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    get(`${service.url}${path}`, { ...(agent === undefined ? {} : { agent }) }, (res) => {
      res.resume();
      res.once('end', () => resolve(performance.now() - began));
      res.once('error', reject);
    }).once('error', reject);
  });
}

/** Milliseconds from `since` until the log says that; on a busy machine a collection of so much takes minutes. */
async function loggedAfter(service: Service, pattern: RegExp, since: number): Promise<number> {
  for (let tries = 1; ; tries++)
    try {
      await service.logged(pattern);
      return performance.now() - since;
    } catch (error) {
      if (tries === PATIENCE) throw error;
    }
}
