// Collects in the service: when a limit is passed, when a disk is full, and every so often. One collection at a time; no answer
// waits for it.
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { describe } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { Storage } from '../store/storage.ts';
import type { Totals } from '../store/upkeep.ts';
import { ClockSteps } from './clock-steps.ts';
import { collect, FRESH_MS, missingFree } from './collect.ts';

interface CollectorOptions {
  readonly storage: Storage;
  readonly config: Pick<Config, 'gc' | 'storeDir'>;
  readonly emit: Emit;
  /** Ends it when the service stops. */
  readonly signal: AbortSignal;
}

/** How often at most it is looked at how much is free, and a collection is begun. */
const LOOK_MS = 5_000;
/** How often it is looked at whether the clock was set. */
const CLOCK_MS = 10_000;
const PAUSE_MS = 30_000;
/** After one that could not free enough: the next would not either, until something gets older. */
const FUTILE_MS = 10 * 60_000;
const COUNT_AFTER_MS = 1000;

export class Collector {
  readonly #options: CollectorOptions;
  readonly #clock = new ClockSteps(FRESH_MS);
  #clockTimer: NodeJS.Timeout | undefined;
  /** When a command last changed the folder before it was counted. */
  #countedAfter = 0;
  #running: Promise<void> | undefined;
  #notBefore = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #later: NodeJS.Timeout | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** Counts what is there, in the background, and watches from then on; resolves when it has counted. */
  start(): Promise<void> {
    const { config, emit, storage } = this.#options;
    // The count begins a little later: the first requests after a start go first.
    const counted = this.#count(COUNT_AFTER_MS, ({ bytes, objects }) => {
      emit({ kind: 'counted', objects, bytes });
    });
    // The folder may hold too much already.
    counted.then(() => this.#look()).catch(() => {});
    storage.upkeep.watch((full) => (full ? this.request() : void this.#look()));
    this.#timer = setInterval(() => {
      void this.#look(true);
      void storage.scratch.dropAbandoned();
    }, config.gc.everyMs);
    this.#timer.unref();
    this.#clockTimer = setInterval(() => this.#lookAtClock(), CLOCK_MS).unref();
    return counted;
  }

  /** After `afterMs`, in the background. */
  #count(afterMs: number, onCounted: (totals: Totals) => void = () => {}): Promise<void> {
    const { emit, signal, storage } = this.#options;
    const { upkeep } = storage;
    this.#running = delay(afterMs, undefined, { signal, ref: false })
      .then(async () => {
        this.#countedAfter = await upkeep.changedElsewhere();
        onCounted(await upkeep.count(signal));
      })
      .catch((error) => signal.aborted || emit({ kind: 'count-failed', error }))
      .then(() => this.#ended());
    return this.#running;
  }

  /** If a command has changed the folder since. */
  async #countAgain(): Promise<void> {
    const isChanged = (await this.#options.storage.upkeep.changedElsewhere()) !== this.#countedAfter;
    if (isChanged && this.#running === undefined) await this.#count(0);
  }

  #lookAtClock(): void {
    if (this.#clock.look()) this.#warn('the clock was set, by more than a minute');
  }

  #warn(text: string): void {
    this.#options.emit({ kind: 'notice', level: 'warn', text });
  }

  #ended(): void {
    this.#running = undefined;
  }

  /** Begins a collection if a limit is passed; `anyway` also for what is too old. */
  async #look(anyway = false): Promise<void> {
    const { config, signal, storage } = this.#options;
    const { scratch, upkeep } = storage;
    const { maxAgeMs, maxBytes } = config.gc;
    const now = performance.now();
    if (signal.aborted) return;
    const isTooLarge = () => maxBytes !== undefined && (upkeep.totals?.bytes ?? 0) > maxBytes;
    const tooSoon = !isTooLarge() && !anyway && now - this.#lookedAt < LOOK_MS;
    if (tooSoon || this.#running !== undefined || now < this.#notBefore) {
      this.#lookLater();
      return;
    }
    this.#lookedAt = now;
    try {
      // If the total is not known since the start, a collection counts.
      const isDue = maxAgeMs !== undefined || upkeep.totals === undefined;
      if (upkeep.totals !== undefined) await this.#countAgain();
      const tooFull = isTooLarge() || (await missingFree(scratch, config.gc)) > 0;
      if (tooFull || (anyway && isDue)) this.request();
    } catch (error) {
      this.#warn(describe(error));
    }
  }

  /** Nothing may change any more that would have it look again. */
  #lookLater(): void {
    this.#later ??= setTimeout(() => {
      this.#later = undefined;
      void this.#look();
    }, LOOK_MS).unref();
  }

  /** Begins a collection if none is under way and the last was not just now. */
  request(): void {
    const { signal } = this.#options;
    if (signal.aborted || this.#running !== undefined || performance.now() < this.#notBefore) return;
    this.#running = this.#collect().finally(() => this.#ended());
  }

  async #collect(): Promise<void> {
    const { config, emit, signal, storage } = this.#options;
    const { gc, storeDir } = config;
    const started = performance.now();
    try {
      this.#lookAtClock();
      const done = await collect({ storage, storeDir, gc, emit, signal, alsoKeep: this.#clock.stretches() });
      emit({ kind: 'collected', done, ms: performance.now() - started });
      this.#notBefore = performance.now() + (done.stillTooMuch > 0 ? FUTILE_MS : PAUSE_MS);
    } catch (error) {
      if (signal.aborted) return;
      emit({ kind: 'collection-failed', error });
      this.#notBefore = performance.now() + PAUSE_MS;
    }
  }

  /** When nothing of it is under way; it must have been told to end. */
  async idle(): Promise<void> {
    clearInterval(this.#timer);
    clearInterval(this.#clockTimer);
    clearTimeout(this.#later);
    await this.#running;
  }
}
