// Small objects are put on the disk by a thread of its own (commit-thread.ts): one way there and back each, where up to ten go through
// libuv's threads otherwise, one for each call of the disk. The thread comes with the first of
// them and goes when there were none for a while; until it is there, and where it can't be, they are stored the usual way. A disk
// that hangs holds up the thread alone.
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { storageError } from '../../disk/files.ts';
import { CacheError, describe } from '../../errors.ts';
import { threadBegins, threadFile } from '../../sync/threads.ts';
import { type Owner, ownerOf } from './own.ts';
import { tempName } from './writer.ts';

/** How it is put there. */
export interface Manner {
  /** Whether it takes the place of what is there. */
  readonly replace: boolean;
  /** Whether its name survives a power loss, too. */
  readonly durable: boolean;
}

/** What the thread is asked to do. */
export interface Job extends Manner {
  readonly id: number;
  /** The cache folder. */
  readonly folder: string;
  readonly temporary: string;
  /** Where it is to be. */
  readonly target: string;
  /** Header and body. */
  readonly bytes: Uint8Array;
  /** To whom it is to be given. */
  readonly owner: Owner | undefined;
}

interface Placed {
  readonly id: number;
  /** Bytes of the file that it took the place of, if there was one. */
  readonly before: number | undefined;
  /** See `versionOf`; undefined if something is there, which stays. */
  readonly version: string | undefined;
}

/** What has become of it. */
export type Committed =
  | Placed
  | {
      readonly id: number;
      readonly failure: { readonly message: string; readonly code: string | undefined };
    };

/** Bodies that are larger go the usual way: there the bytes take longer than the ways. */
export const MOST_COMMITTED_BYTES = 64 * 1024;
/** That wait for the disk at once; those beyond go the usual way, where they wait without being in memory twice. */
const MOST_WAITING = 256;
const IDLE_MS = 10_000;
/** It needs very little. */
const HEAP = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 };

interface Waiting {
  readonly resolve: (done: Placed) => void;
  readonly reject: (error: unknown) => void;
  readonly target: string;
}

export class Commits {
  readonly #folder: string;
  readonly #waiting = new Map<number, Waiting>();
  #thread: Worker | undefined;
  #isReady = false;
  /** When the thread has loaded its modules, or has ended. */
  #loaded: Promise<void> = Promise.resolve();
  #id = 0;
  #timer: NodeJS.Timeout | undefined;
  #isOver = true;
  #ended: () => void = () => {};

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** From now on it may have a thread: whoever runs but a short while does without. */
  open(): void {
    this.#isOver = false;
  }

  /** Whether it takes one more now; if not, it may soon. */
  get isOpen(): boolean {
    if (this.#isOver) return false;
    this.#thread ??= this.#start();
    return this.#isReady && this.#waiting.size < MOST_WAITING;
  }

  /**
   * Makes the bytes the file `target`: after a power loss it has all of them, or, where that is not asked for, may be gone. Undefined
   * if the thread has gone meanwhile.
   * @throws CacheError `storage`
   */
  async put(target: string, bytes: Uint8Array, manner: Manner): Promise<Placed | undefined> {
    clearTimeout(this.#timer);
    const owner = await ownerOf(this.#folder);
    clearTimeout(this.#timer);
    const thread = this.#thread;
    if (thread === undefined) return undefined;
    if (this.#waiting.size === 0) {
      thread.ref();
      this.#ended = threadBegins();
    }
    const id = ++this.#id;
    const temporary = join(this.#folder, 'tmp', tempName());
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, target });
      const folder = this.#folder;
      thread.postMessage({ id, folder, temporary, target, bytes, owner, ...manner } satisfies Job);
    });
  }

  #start(): Worker | undefined {
    const file = threadFile('commit-thread', import.meta.url);
    const thread = new Worker(file, { resourceLimits: HEAP });
    thread.unref();
    this.#loaded = new Promise((resolve) => {
      for (const event of ['message', 'exit'] as const) thread.once(event, () => resolve());
    });
    thread.on('message', (all: readonly Committed[]) => {
      if (this.#thread !== thread) return;
      this.#isReady = true;
      for (const one of all) this.#told(one);
      if (this.#waiting.size === 0) this.#rest();
    });
    thread.on('error', (error) => this.#lost(thread, error));
    thread.on('exit', () => this.#lost(thread, new Error('its thread has ended')));
    return thread;
  }

  #told(one: Committed): void {
    const waiting = this.#waiting.get(one.id);
    this.#waiting.delete(one.id);
    if (!('failure' in one)) waiting?.resolve(one);
    else {
      const { code, message } = one.failure;
      const error = Object.assign(new Error(message), { code });
      waiting?.reject(storageError(`can't write ${waiting.target}`, error));
    }
  }

  /** Nobody waits for it. */
  #rest(): void {
    this.#ended();
    this.#thread?.unref();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#end(), IDLE_MS).unref();
  }

  /** What it had in its hands may be stored or not: whoever waits is told that it is not. */
  #lost(thread: Worker, error: unknown): void {
    if (this.#thread !== thread) return;
    this.#thread = undefined;
    // One that has never come would not come the next time either.
    this.#isOver ||= !this.#isReady;
    this.#isReady = false;
    this.#ended();
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject, target } of all)
      reject(new CacheError('storage', `can't write ${target}: ${describe(error)}`, error));
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer);
    const thread = this.#thread;
    if (thread === undefined || this.#waiting.size > 0) return;
    this.#thread = undefined;
    this.#isReady = false;
    // A thread that is ended while it loads its modules would leave their files open.
    thread.ref();
    await this.#loaded;
    await thread.terminate();
  }

  /** Ends the thread, when nobody waits for it any more; none comes after it. */
  async close(): Promise<void> {
    this.#isOver = true;
    await this.#end();
  }
}
