// Descriptors of files that are asked for again and again, kept open with what their headers said: a hit then costs one read, instead
// of opening the file, looking at it, reading its header and its body, and closing it. What is kept is believed for as long as
// anything that was seen on the disk (last-use.ts) and then looked at again by its name; whoever takes a file away in this process
// says so at once. Their number is bounded, and what is not used for a while is closed: nobody wants a removed file to fill the disk.
import { readFileSync } from 'node:fs';
import { Until } from '../../sync/until.ts';
import type { ObjectMeta } from '../store.ts';
import type { Descriptor } from './descriptor.ts';
import { FreshBodies } from './fresh-bodies.ts';
import { FRESH_MS } from './last-use.ts';

/** At most so many, and that share of what the process may open: connections, downloads and uploads need theirs. */
const MOST = 8192;
const SHARE = 4;
/** Where nobody can tell what it may open. */
const FEW = 64;
/** No collection takes what was used within the last hour, so none takes what is kept. */
const IDLE_MS = 30_000;
const SWEEP_MS = 10_000;
/** Uses that follow each other so closely are one. */
const SAME_USE_MS = 1000;

/** What an open file is known to be. */
export interface Known {
  readonly file: string;
  readonly descriptor: Descriptor;
  readonly meta: ObjectMeta;
  /** Where the body begins. */
  readonly bodyAt: number;
  readonly version: string;
  /** The file's time, of its last use or of its being written to. */
  mtimeMs: number;
  /** Until when it is in the kernel's memory, as far as can be told: see hot-reads.ts. */
  hotUntil: number;
}

interface Kept extends Known {
  /** When its name was last seen to be the file's. */
  seenAt: number;
  usedAt: number;
}

export class KeptFiles {
  /** What was just stored, and is at hand without a file; told of whatever these are told of. */
  readonly bodies = new FreshBodies();
  /** By the object's path, the one that was used longest ago first. */
  readonly #kept = new Map<string, Kept>();
  /** The paths of what is kept, by file. */
  readonly #paths = new Map<string, string>();
  readonly #readOnce = new Until(() => performance.now(), IDLE_MS);
  #most = 0;
  #sweeping: NodeJS.Timeout | undefined;
  #changes = 0;

  /** Nothing is kept before this. */
  begin(most = mostKept()): void {
    this.#most = most;
    this.bodies.begin();
  }

  /** How often something may have become another, for {@link keep} and {@link seen}. */
  get changes(): number {
    return this.#changes;
  }

  /** The file of the object, whatever has become of its name since it was last seen. */
  get(path: string): Known | undefined {
    const kept = this.#kept.get(path);
    return kept && this.#used(path, kept, performance.now());
  }

  /** The same, if it may be believed to be the one under its name. */
  ready(path: string): Known | undefined {
    const kept = this.#kept.get(path);
    if (kept === undefined) return undefined;
    const now = performance.now();
    return now - kept.seenAt < FRESH_MS ? this.#used(path, kept, now) : undefined;
  }

  #used(path: string, kept: Kept, now: number): Kept {
    if (now - kept.usedAt < SAME_USE_MS) return kept;
    kept.usedAt = now;
    this.#kept.delete(path);
    this.#kept.set(path, kept);
    return kept;
  }

  /**
   * Keeps a file that was opened by its name at `seenAt` and is read, from the second time on: most files are asked for once in a long
   * while. Not, if something has changed since there were so many {@link changes}.
   */
  keep(path: string, known: Known, seenAt: number, changes: number): void {
    if (this.#most === 0 || changes !== this.#changes || this.#kept.has(path)) return;
    if (!this.#readOnce.has(path)) {
      this.#readOnce.add(path);
      return;
    }
    known.descriptor.share();
    this.#kept.set(path, { ...known, seenAt, usedAt: performance.now() });
    this.#paths.set(known.file, path);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > this.#most && oldest !== undefined) this.#drop(oldest);
    this.#sweeping ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** Its name was looked at, and was the file's, at `seenAt`. */
  seen(path: string, known: Known, seenAt: number, changes: number): void {
    const kept = this.#kept.get(path);
    if (kept?.descriptor === known.descriptor && changes === this.#changes) kept.seenAt = seenAt;
  }

  /** The object may be another from now on, or none. */
  drop(path: string): void {
    this.bodies.drop(path);
    this.#drop(path);
  }

  #drop(path: string): void {
    this.#changes++;
    const kept = this.#kept.get(path);
    if (kept === undefined) return;
    this.#kept.delete(path);
    this.#paths.delete(kept.file);
    // Whoever reads it goes on; a failure to close is nobody's concern.
    kept.descriptor.done().catch(() => {});
  }

  /** The same, where only the file is known. */
  dropFile(file: string): void {
    this.#changes++;
    this.bodies.dropFile(file);
    const path = this.#paths.get(file);
    if (path !== undefined) this.#drop(path);
  }

  /** From now on nothing is believed before it was looked at. */
  recheck(): void {
    this.#changes++;
    this.bodies.recheck();
    for (const kept of this.#kept.values()) kept.seenAt = Number.NEGATIVE_INFINITY;
  }

  /** Lets go of all; whether there was any. */
  clear(): boolean {
    const { size } = this.#kept;
    for (const path of this.#kept.keys()) this.#drop(path);
    return size > 0;
  }

  /** Keeps nothing any more. */
  end(): void {
    this.#most = 0;
    this.bodies.end();
    this.clear();
    this.#stopSweeping();
  }

  #sweep(): void {
    const before = performance.now() - IDLE_MS;
    for (const [path, { usedAt }] of this.#kept) {
      if (usedAt > before) break;
      this.#drop(path);
    }
    if (this.#kept.size === 0) this.#stopSweeping();
  }

  #stopSweeping(): void {
    clearInterval(this.#sweeping);
    this.#sweeping = undefined;
  }
}

/** Node itself raises the soft limit to the hard one when it starts. */
function mostKept(): number {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    return soft === undefined ? MOST : Math.min(MOST, Math.floor(Number(soft) / SHARE));
  } catch {
    return FEW;
  }
}
