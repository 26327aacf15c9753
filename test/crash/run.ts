// Lives and deaths of one service over one folder: it is started, used by hundreds of clients at once, and killed in the
// middle, again and again, until the time is up; then it has to show everything without its upstream.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { defer, type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { randomSource } from '../fixtures/random.ts';
import { type Service, startService } from '../fixtures/service.ts';
import { Story } from '../fixtures/story.ts';
import { Commands } from './commands.ts';
import { Disk } from './disk.ts';
import { upstreamGoods } from './goods.ts';
import { Ledger } from './ledger.ts';
import { assertRight, type Life, Wrong } from './life.ts';
import { Pullers } from './pull.ts';
import { Pushers } from './push.ts';

const PUSHERS = 200;
const PULLERS = 60;
const LONGEST_LIFE_MS = 4000;
const MOST_UPLOADS = 300;

interface Outcome {
  readonly lives: number;
  readonly acknowledged: number;
  readonly removed: number;
}

/** @throws with the story of the last life if something does not hold */
export async function runCrashes(owner: Owner, seed: number, forMs: number): Promise<Outcome> {
  return new Crashes(owner, seed).run(forMs);
}

class Crashes {
  readonly #owner: Owner;
  readonly #seed: number;
  readonly #random: () => number;
  readonly #ledger = new Ledger();
  readonly #pushers: Pushers;
  readonly #pullers: Pullers;
  #story = new Story();
  #service: Service | undefined;

  constructor(owner: Owner, seed: number) {
    this.#owner = owner;
    this.#seed = seed;
    this.#random = randomSource(seed);
    this.#pushers = new Pushers(this.#ledger, seed);
    this.#pullers = new Pullers(this.#ledger, upstreamGoods(seed));
  }

  async run(forMs: number): Promise<Outcome> {
    const home = await temporaryFolder(this.#owner, 'crash');
    const dir = join(home, 'cache');
    const upstream = fork(fileURLToPath(new URL(`upstream${import.meta.url.slice(-3)}`, import.meta.url)), [
      String(this.#seed),
    ]);
    const ended = once(upstream, 'close');
    const endUpstream = async () => {
      upstream.kill('SIGKILL');
      await ended;
    };
    defer(this.#owner, endUpstream);
    const [port] = await once(upstream, 'message');
    const config = `[gc]\nmax_size = "1 MiB"\nkeep_pushed = true\nevery = "1m"\n[[upstreams]]\nurl = "http://127.0.0.1:${port}"\n`;
    await writeFile(join(home, 'cache.toml'), config);
    const disk = new Disk(dir);
    const commands = new Commands({ ledger: this.#ledger, config: join(home, 'cache.toml'), dir });
    const until = performance.now() + forMs;
    let lives = 0;
    try {
      for (; performance.now() < until; lives++) {
        await this.#live(config, dir, commands, disk);
        await disk.check(this.#ledger);
        await disk.age(this.#random);
      }
      await endUpstream();
      await this.#showAll(config, dir, commands, disk);
    } catch (error) {
      const log = this.#service?.log().split('\n') ?? [];
      const story = this.#story.text({ seed: this.#seed, lives }, [], log);
      throw new Error(
        `seed ${this.#seed}, life ${lives}: ${error instanceof Error ? error.message : error}\n${story}`,
        {
          cause: error,
        },
      );
    }
    const { acknowledged, entries } = this.#ledger;
    const removed = entries.filter(({ state }) => state === 'removed').length;
    return { lives, acknowledged: acknowledged.length, removed };
  }

  async #start(config: string, dir: string): Promise<Life> {
    this.#story = new Story();
    this.#service = await startService(this.#owner, { config, dir });
    return { url: this.#service.url, story: this.#story, random: this.#random, over: false };
  }

  async #live(config: string, dir: string, commands: Commands, disk: Disk): Promise<void> {
    const life = await this.#start(config, dir);
    const left = await disk.names('tmp');
    assertRight(left.length === 0, `the start has left in tmp/: ${left}`);
    let fail: (error: unknown) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const client = async (act: (life: Life) => Promise<void>): Promise<void> => {
      try {
        while (!life.over) await act(life);
      } catch (error) {
        // A kill ends requests in any way but a wrong one.
        if (!life.over || error instanceof Wrong) fail(error);
      }
    };
    const clients = Promise.all([
      client((one) => commands.run(one)),
      ...Array.from({ length: PUSHERS }, () => client((one) => this.#pushers.push(one))),
      ...Array.from({ length: PULLERS }, () => client((one) => this.#pullers.pull(one))),
    ]);
    await Promise.race([failed, this.#aLife()]);
    life.over = true;
    life.story.tell('the service is killed');
    await this.#service?.kill();
    if (this.#random() < 0.5) commands.kill();
    await Promise.race([failed, clients]);
  }

  /** Until so many uploads have been acknowledged, and some time more. */
  async #aLife(): Promise<void> {
    const [ledger, random] = [this.#ledger, this.#random];
    const enough = ledger.acknowledgements + Math.floor(random() * MOST_UPLOADS);
    const until = performance.now() + LONGEST_LIFE_MS;
    while (ledger.acknowledgements < enough && performance.now() < until) await delay(5);
    await delay(random() ** 3 * LONGEST_LIFE_MS);
  }

  /** After the last start, everything that was acknowledged, without the upstream; then a stop that leaves nothing behind. */
  async #showAll(config: string, dir: string, commands: Commands, disk: Disk): Promise<void> {
    const life = await this.#start(config, dir);
    const queue = [...this.#ledger.entries].filter(({ state }) => state !== 'unclear');
    const show = async () => {
      for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
        if (one.state === 'acknowledged') await this.#pullers.pullPushed(life, one);
      }
    };
    await Promise.all(Array.from({ length: 20 }, show));
    for (const nar of this.#ledger.nars)
      if (this.#ledger.mustHave(nar)) await this.#pullers.pullNar(life, nar, nar.path, () => true);
    await commands.checkPins(life);
    assertRight((await this.#service?.stop()) === 0, 'the service did not stop by itself');
    await disk.check(this.#ledger);
    const left = await disk.names('tmp');
    assertRight(left.length === 0, `left in tmp/: ${left}`);
    // A collection that the stop has ended leaves in trash/ what it had in its hands: a start puts that back.
    const aside = await disk.names('trash');
    if (aside.length === 0) return;
    await this.#start(config, dir);
    const still = new Set(await disk.names('trash'));
    const lost = aside.filter((name) => still.has(name));
    assertRight(lost.length === 0, `the start has left in trash/: ${lost}`);
    assertRight((await this.#service?.stop()) === 0, 'the service did not stop by itself');
  }
}
