// Looks names up by the system's resolver in a process of its own, see lookup-process.ts; in this one if there can be no other.
import { type ChildProcess, fork } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import { fileURLToPath } from 'node:url';
import { lacksDescriptors } from '../errors.ts';
import type { LookupAnswer } from './lookup-process.ts';

/** libuv gives names half of the threads, so that so many are looked up at once. */
export const MAX_LOOKUPS = 16;
const THREADS = 2 * MAX_LOOKUPS;
/** The same file, whether it was built or runs as it was written. */
const PROGRAM = fileURLToPath(import.meta.url.replace(/lookups(\.[jt]s)$/, 'lookup-process$1'));

/** An address of a name. */
export interface Address {
  readonly address: string;
  readonly family: number;
}

/** Every address of a name, in the order in which to try them; rejects with an errno (`ENOTFOUND`, `EAI_AGAIN`, …). */
export type Look = (host: string) => Promise<readonly Address[]>;

interface Waiting {
  readonly resolve: (found: readonly Address[]) => void;
  readonly reject: (error: Error) => void;
}

export class Lookups {
  #child: ChildProcess | undefined;
  /** One for each name. */
  readonly #waiting = new Map<string, Waiting>();

  /** Never two at once of one name. */
  readonly look: Look = (host) => {
    const child = this.#child ?? this.#start();
    if (child === undefined) return lookUpHere(host);
    return new Promise((resolve, reject) => {
      this.#waiting.set(host, { resolve, reject });
      child.send(host, (error) => {
        if (error !== null) this.#lookUpHere(host);
      });
    });
  };

  /** Undefined if none can be started. It ends with this process, and keeps it from nothing. */
  #start(): ChildProcess | undefined {
    try {
      const env = { ...process.env, UV_THREADPOOL_SIZE: `${THREADS}` };
      const child = fork(PROGRAM, { execArgv: [], env, stdio: 'ignore' });
      child.on('error', () => this.#end(child)).on('exit', () => this.#end(child));
      // No pid: the error comes in a moment.
      if (child.pid === undefined) return undefined;
      child.on('message', (answer) => this.#settle(answer as LookupAnswer));
      child.unref();
      child.channel?.unref();
      this.#child = child;
      return child;
    } catch {
      return undefined;
    }
  }

  #end(child: ChildProcess): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    for (const host of [...this.#waiting.keys()]) this.#lookUpHere(host);
  }

  #lookUpHere(host: string): void {
    const waiting = this.#waiting.get(host);
    this.#waiting.delete(host);
    if (waiting !== undefined) lookUpHere(host).then(waiting.resolve, waiting.reject);
  }

  #settle(answer: LookupAnswer): void {
    const waiting = this.#waiting.get(answer.host);
    this.#waiting.delete(answer.host);
    if ('found' in answer) waiting?.resolve(answer.found);
    else waiting?.reject(Object.assign(new Error(`${answer.code} ${answer.host}`), { code: answer.code }));
  }
}

async function lookUpHere(host: string): Promise<readonly Address[]> {
  try {
    return await lookup(host, { all: true });
  } catch (error) {
    throw lackOfDescriptors() ?? error;
  }
}

/** What a lookup may have found in its way that calls it an unknown name. */
function lackOfDescriptors(): unknown {
  try {
    closeSync(openSync(devNull, 'r'));
    return undefined;
  } catch (error) {
    return lacksDescriptors(error) ? error : undefined;
  }
}
