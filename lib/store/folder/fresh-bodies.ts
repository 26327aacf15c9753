// Small bodies that were just stored, in memory for the clients for whom they were fetched, who come for them within moments: nobody opens
// a file for them, which costs more than all the rest of such an answer. Each is believed to be what the store has for as long as anything
// that was seen on the disk (last-use.ts), and then looked at by its name; whoever takes its file away in this process says so at once.
import type { ObjectMeta } from '../store.ts';

/** Together, with what an entry takes besides its bytes. */
const MOST_BYTES = 16 << 20;
const ENTRY_BYTES = 1000;
/** Clients come for most within seconds; others are as well read from their files. */
const KEPT_MS = 60_000;
const SWEEP_MS = 10_000;

export interface FreshBody {
  readonly file: string;
  readonly meta: ObjectMeta;
  readonly version: string;
  readonly body: Buffer;
  /** When its name was last seen to be that version's. */
  seenAt: number;
}

interface Kept extends FreshBody {
  readonly keptAt: number;
}

/** One that is being stored. */
export interface Coming {
  readonly path: string;
  readonly file: string;
  readonly begunAt: number;
}

export class FreshBodies {
  /** By path, the one that was stored longest ago first. */
  readonly #bodies = new Map<string, Kept>();
  /** The paths of what is kept, by file. */
  readonly #paths = new Map<string, string>();
  /** By path, what is being stored, and nobody has touched since that began. */
  readonly #coming = new Map<string, Coming>();
  #bytes = 0;
  #isOver = true;
  #sweeping: NodeJS.Timeout | undefined;

  /** Nothing is kept before this. */
  begin(): void {
    this.#isOver = false;
  }

  /** One is about to be stored in that file; {@link settled} is to be called when it is, or is not. */
  coming(path: string, file: string): Coming {
    const coming = { path, file, begunAt: performance.now() };
    this.#coming.set(path, coming);
    return coming;
  }

  /** Whether nobody has touched it since that began: only then may it be kept. */
  settled(coming: Coming): boolean {
    return this.#coming.get(coming.path) === coming && this.#coming.delete(coming.path) && !this.#isOver;
  }

  /** Keeps what has been stored. */
  keep({ begunAt, file, path }: Coming, meta: ObjectMeta, version: string, body: Buffer): void {
    this.#delete(path);
    this.#bodies.set(path, { file, meta, version, body, keptAt: performance.now(), seenAt: begunAt });
    this.#paths.set(file, path);
    this.#bytes += body.length + ENTRY_BYTES;
    for (const oldest of this.#bodies.keys()) {
      if (this.#bytes <= MOST_BYTES) break;
      this.#delete(oldest);
    }
    this.#sweeping ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  get(path: string): FreshBody | undefined {
    return this.#bodies.get(path);
  }

  /** The object may be another from now on, or none. */
  drop(path: string): void {
    this.#coming.delete(path);
    this.#delete(path);
  }

  #delete(path: string): void {
    const fresh = this.#bodies.get(path);
    if (fresh === undefined) return;
    this.#bodies.delete(path);
    this.#paths.delete(fresh.file);
    this.#bytes -= fresh.body.length + ENTRY_BYTES;
  }

  /** The same, where only the file is known. */
  dropFile(file: string): void {
    const path = this.#paths.get(file);
    if (path !== undefined) this.drop(path);
    for (const [one, coming] of this.#coming) if (coming.file === file) this.#coming.delete(one);
  }

  /** From now on nothing is believed before it was looked at. */
  recheck(): void {
    this.#coming.clear();
    for (const fresh of this.#bodies.values()) fresh.seenAt = Number.NEGATIVE_INFINITY;
  }

  /** Keeps nothing any more. */
  end(): void {
    this.#isOver = true;
    this.#coming.clear();
    for (const path of this.#bodies.keys()) this.#delete(path);
    this.#stopSweeping();
  }

  #sweep(): void {
    const before = performance.now() - KEPT_MS;
    for (const [path, { keptAt }] of this.#bodies) {
      if (keptAt > before) break;
      this.#delete(path);
    }
    if (this.#bodies.size === 0) this.#stopSweeping();
  }

  #stopSweeping(): void {
    clearInterval(this.#sweeping);
    this.#sweeping = undefined;
  }
}
