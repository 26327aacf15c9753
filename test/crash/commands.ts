// Commands beside the service, one after the other, some of them killed: collections, pins, removals.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { program } from '../fixtures/project.ts';
import { pick } from '../fixtures/random.ts';
import type { Ledger } from './ledger.ts';
import { assertRight, type Life } from './life.ts';

/** A service believes a narinfo in its memory to be on disk for a second. */
const NOTICED_MS = 1100;

interface CommandsOptions {
  readonly ledger: Ledger;
  readonly config: string;
  readonly dir: string;
}

export class Commands {
  readonly #options: CommandsOptions;
  /** Killed with the service in some lives. */
  #running: ReturnType<typeof spawn> | undefined;
  #pins = 0;

  constructor(options: CommandsOptions) {
    this.#options = options;
  }

  async run(life: Life): Promise<void> {
    const draw = life.random();
    if (draw < 0.4) await this.#run(life, ['gc']);
    else if (draw < 0.6) await this.#rm(life);
    else if (draw < 0.8) await this.#pin(life);
    else if (draw < 0.9) await this.#unpin(life);
    else await this.checkPins(life);
  }

  kill(): void {
    this.#running?.kill('SIGKILL');
  }

  /** What it wrote; undefined if it was killed. */
  async #run(life: Life, args: readonly string[]): Promise<string | undefined> {
    const { config, dir } = this.#options;
    const child = spawn(process.execPath, [program, ...args, '--config', config, '--cache-dir', dir], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#running = child;
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
    }
    const timer =
      life.random() < 0.15 ? setTimeout(() => child.kill('SIGKILL'), life.random() * 2000) : undefined;
    await once(child, 'close');
    clearTimeout(timer);
    this.#running = undefined;
    const { exitCode, signalCode } = child;
    life.story.tell(`${args.join(' ')}: ${signalCode ?? exitCode} ${text.slice(-200)}`);
    if (signalCode !== null) return undefined;
    assertRight(exitCode === 0, `${args.join(' ')}: ${exitCode}\n${text}`);
    return text;
  }

  async #rm(life: Life): Promise<void> {
    const candidates = this.#options.ledger.acknowledged.filter(({ pushing }) => pushing === 0);
    if (candidates.length < 20) return;
    const entry = pick(life.random, candidates);
    entry.doomed = true;
    entry.state = 'unclear';
    entry.nar.shaky = true;
    if ((await this.#run(life, ['rm', entry.storePath])) === undefined) return;
    await delay(NOTICED_MS);
    entry.state = 'removed';
  }

  async #pin(life: Life): Promise<void> {
    const { ledger } = this.#options;
    const candidates = ledger.acknowledged;
    if (candidates.length === 0) return;
    const { storePath } = pick(life.random, candidates);
    const name = `pin-${this.#pins++ % 20}`;
    const before = ledger.pins.get(name);
    ledger.pins.set(name, undefined);
    const told = await this.#run(life, ['pin', storePath, '--name', name]);
    if (told !== undefined) ledger.pins.set(name, storePath);
    else if (before === storePath) ledger.pins.set(name, before);
  }

  async #unpin(life: Life): Promise<void> {
    const { pins } = this.#options.ledger;
    const [name] =
      pick(
        life.random,
        [...pins].filter(([, storePath]) => storePath !== undefined),
      ) ?? [];
    if (name === undefined) return;
    pins.set(name, undefined);
    if ((await this.#run(life, ['unpin', name])) !== undefined) pins.delete(name);
  }

  async checkPins(life: Life): Promise<void> {
    const told = await this.#run(life, ['pins']);
    if (told === undefined) return;
    for (const [name, storePath] of this.#options.ledger.pins) {
      const isThere = storePath === undefined || (told.includes(name) && told.includes(storePath));
      assertRight(isThere, `the pin ${name} of ${storePath} is gone:\n${told}`);
    }
  }
}
