// Collects in the service: when a limit is passed, when a disk is full, and every so often. One collection at a time; no answer
// waits for it.
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { describe } from '../errors.ts';
import { formatBytes } from '../format.ts';
import type { Log } from '../log.ts';
import type { Storage } from '../store/storage.ts';
import type { Totals } from '../store/upkeep.ts';
import { ClockSteps } from './clock-steps.ts';
import { type Collected, collect, FRESH_MS, missingFree } from './collect.ts';

interface CollectorOptions {
  readonly storage: Storage;
  readonly config: Pick<Config, 'gc' | 'storeDir'>;
  readonly log: Log;
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
    const { config, log, storage } = this.#options;
    // The count begins a little later: the first requests after a start go first.
    const counted = this.#count(COUNT_AFTER_MS, ({ bytes, objects }) => {
      log.info(`holding ${objects} objects, ${formatBytes(bytes)}`);
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
    const { log, signal, storage } = this.#options;
    const { upkeep } = storage;
    this.#running = delay(afterMs, undefined, { signal, ref: false })
      .then(async () => {
        this.#countedAfter = await upkeep.changedElsewhere();
        onCounted(await upkeep.count(signal));
      })
      .catch(
        (error) =>
          signal.aborted || log.warn(`what the cache holds could not be counted: ${describe(error)}`),
      )
      .then(() => this.#ended());
    return this.#running;
  }

  /** If a command has changed the folder since. */
  async #countAgain(): Promise<void> {
    const isChanged = (await this.#options.storage.upkeep.changedElsewhere()) !== this.#countedAfter;
    if (isChanged && this.#running === undefined) await this.#count(0);
  }

  #lookAtClock(): void {
    if (this.#clock.look()) this.#options.log.warn('the clock was set, by more than a minute');
  }

  #ended(): void {
    this.#running = undefined;
  }

  /** Begins a collection if a limit is passed; `anyway` also for what is too old. */
  async #look(anyway = false): Promise<void> {
    const { config, log, signal, storage } = this.#options;
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
      log.warn(describe(error));
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
    const { config, log, signal, storage } = this.#options;
    const { gc, storeDir } = config;
    const started = performance.now();
    try {
      this.#lookAtClock();
      const done = await collect({ storage, storeDir, gc, log, signal, alsoKeep: this.#clock.stretches() });
      log.info(`collection: ${collectedLine(done)}, ${((performance.now() - started) / 1000).toFixed(1)} s`);
      if (done.stillTooMuch > 0) log.warn(`collection: ${stillTooMuchLine(done)}`);
      this.#notBefore = performance.now() + (done.stillTooMuch > 0 ? FUTILE_MS : PAUSE_MS);
    } catch (error) {
      if (signal.aborted) return;
      log.warn(`collection failed: ${describe(error)}`);
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

/** What was done, for people. */
export function collectedLine({ bytes, objects, removedBytes, removedObjects }: Collected): string {
  const removed = `removed ${removedObjects} objects, ${formatBytes(removedBytes)}`;
  return `${removed}, of ${objects}, ${formatBytes(bytes)}`;
}

/** What could not be done, and why. */
export function stillTooMuchLine({ bytes, kept, removedBytes, stillTooMuch }: Collected): string {
  const ofOthers = stillTooMuch - (bytes - removedBytes);
  const why = [
    `${formatBytes(kept.pushed)} were pushed`,
    `${formatBytes(kept.pinned)} are pinned`,
    `${formatBytes(kept.used)} were used within the last hour`,
    ...(ofOthers > 0 ? [`${formatBytes(ofOthers)} on the disk are not the cache's`] : []),
  ];
  return `${formatBytes(stillTooMuch)} more than the limits allow must stay: ${why.join(', ')}`;
}
