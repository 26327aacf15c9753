// The downloads that are under way, by what they fetch: who asks meanwhile joins them, who waits for their beginning may leave
// again, one that fails or is stopped is waited for while it keeps what has come, and those that nobody reads give way.

import { type Flight, Flights } from '../sync/flights.ts';
import type { Slots } from '../sync/slots.ts';
import { within } from '../sync/within.ts';
import { Audience } from './audience.ts';
import type { Download } from './download.ts';
import { type Stoppable, Yielding } from './yielding.ts';

interface CrowdOptions {
  /** How long a question is left alone though nobody waits for its answer any more. */
  readonly graceMs: number;
  /** Ends downloads when the service stops. */
  readonly signal: AbortSignal;
  /** What they share. */
  readonly shared: readonly Pick<Slots, 'isCrowded' | 'whenCrowded'>[];
}

/** A download's place among the others. */
export interface Place {
  /** Nobody can join it from now on. */
  close(): void;
  /** The same, and whoever begins anew waits until it has kept what has come. */
  end(): void;
  /** Nobody reads it any more: it may have to give way. */
  abandoned(): void;
}

/** No disk needs so long to keep what has come that does not hang; then the next begins from nothing. */
const ENDING_MS = 5000;

/** A `key` is a path and the way that the request has come. */
export class Crowd<T> {
  readonly #options: CrowdOptions;
  readonly #flights = new Flights<T>();
  /** By path; of several of one path the last. */
  readonly #running = new Map<string, Download>();
  /** Of the downloads that have not begun. */
  readonly #audiences = new Map<string, Audience>();
  /** By path, the end of those that have failed or were stopped, and are keeping what has come. */
  readonly #endings = new Map<string, Promise<void>>();
  readonly #yielding: Yielding;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#yielding = new Yielding(options.shared);
  }

  has(key: string): boolean {
    return this.#flights.has(key);
  }

  isRunning(path: string): boolean {
    return this.#running.has(path);
  }

  /** The one of that path that waits for none of our kind, if there is such a one. */
  fromOutside(path: string): Download | undefined {
    const running = this.#running.get(path);
    return running?.isFromOutside ? running : undefined;
  }

  /**
   * What is under way under `key`, or what `begin` begins, whose signal is aborted when nobody waits for it any more. `gone`:
   * aborted when whoever asks has left; `graceMs`: how long what is begun is left alone though they all have, if not as long as usual.
   */
  async join(
    key: string,
    gone: AbortSignal | undefined,
    begin: (wanted: AbortSignal) => Promise<Flight<T>>,
    graceMs = this.#options.graceMs,
  ): Promise<{ value: T; joined: boolean }> {
    const { signal } = this.#options;
    const before = this.#audiences.get(key);
    // New clients do not join a flight that is being given up: they wait for its end and begin anew.
    const audience = before === undefined || before.signal.aborted ? new Audience(graceMs, signal) : before;
    if (!this.#flights.has(key)) this.#audiences.set(key, audience);
    const leave = audience.join(gone);
    try {
      return await this.#flights.join(key, () => begin(audience.signal));
    } finally {
      leave();
      audience.end();
      if (this.#audiences.get(key) === audience) this.#audiences.delete(key);
    }
  }

  /** When what the one before of that path has got is kept, or that takes too long: whoever begins anew goes on from there. */
  async over(path: string): Promise<void> {
    const ended = this.#endings.get(path);
    if (ended !== undefined) await within(ENDING_MS, ended);
  }

  /** Somebody waits for a download to begin; until what it answers is called. */
  starting(): () => void {
    return this.#yielding.starting();
  }

  /** One that nobody has asked for waits for its first answer, and may have to give way. */
  addAhead(starting: Stoppable): void {
    this.#yielding.add(starting);
  }

  /** One has begun; `release` is called at its end. */
  add(path: string, download: Download, release: () => void): void {
    this.#running.set(path, download);
    this.#yielding.add(download);
    download.ended.finally(() => {
      release();
      if (this.#running.get(path) === download) this.#running.delete(path);
    });
  }

  /** That of a download which is about to begin. */
  place(key: string, path: string): Place {
    return {
      close: () => this.#close(key, path),
      end: () => this.#end(key, path),
      abandoned: () => this.#yielding.look(),
    };
  }

  #close(key: string, path: string): void {
    this.#flights.drop(key);
    this.#running.delete(path);
  }

  #end(key: string, path: string): void {
    const download = this.#running.get(path);
    this.#close(key, path);
    if (download === undefined) return;
    const { ended } = download;
    this.#endings.set(path, ended);
    ended.finally(() => {
      if (this.#endings.get(path) === ended) this.#endings.delete(path);
    });
  }

  /** When none is under way. */
  async idle(): Promise<void> {
    await Promise.all([this.#flights.idle(), ...this.#endings.values()]);
  }
}
