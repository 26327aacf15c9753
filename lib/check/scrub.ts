// Reads all that is stored once in a given time, evenly and slowly, so that what decays is noticed while somebody may still have
// a good copy. One object at a time; nobody waits for it, and a restart goes on where it was.
import { setTimeout as delay } from 'node:timers/promises';
import type { Emit } from '../events.ts';
import type { Upkeep } from '../store/upkeep.ts';
import { checkAny } from './check-any.ts';
import { Checker } from './check-object.ts';
import type { Checked, Finding } from './finding.ts';
import { narInfosOf } from './narinfos-of.ts';
import { loadPosition, type Position, savePosition } from './scrub-position.ts';
import { type KeysConfig, TrustedKeys } from './trusted-keys.ts';

/** Milliseconds since 1970, as when the service began and steadily since, and a way to let them pass. */
interface ScrubClock {
  now(): number;
  /** Rejects when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

interface ScrubOptions {
  readonly upkeep: Upkeep;
  readonly config: KeysConfig;
  /** In what time all is to be read. */
  readonly periodMs: number;
  readonly emit: Emit;
  /** Ends it when the service stops. */
  readonly signal: AbortSignal;
  readonly clock?: ScrubClock;
}

const REAL: ScrubClock = {
  now: () => performance.timeOrigin + performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }),
};
/** How often it is noted how far it has come; what was read since is read again after a crash. */
const SAVE_MS = 60_000;
const RETRY_MS = 3_600_000;
/** No timer is set further ahead: clocks are set, and computers sleep. */
const NAP_MS = 3_600_000;
/** Shorter ones are saved up. */
const SHORTEST_NAP_MS = 20;
/** Within an object it is read so fast, or several times as fast as on the whole, for large ones must come to their end. */
const LEAST_BYTES_PER_MS = 8 * 1024;
const FASTER = 4;
/** Who comes late, because the service was off, is at most so many times as fast: the inverse of this. */
const LATE = 0.1;

export class Scrub {
  readonly #options: ScrubOptions;
  readonly #clock: ScrubClock;
  readonly #checker: Checker;
  #keys: TrustedKeys;
  #position: Position | undefined;
  #savedAt = Number.NEGATIVE_INFINITY;
  #bytesPerMs = LEAST_BYTES_PER_MS;
  #owedMs = 0;
  #running: Promise<void> | undefined;

  constructor(options: ScrubOptions) {
    const { config, upkeep } = options;
    this.#options = options;
    this.#clock = options.clock ?? REAL;
    this.#keys = new TrustedKeys(config);
    this.#checker = new Checker({
      upkeep,
      storeDir: config.storeDir,
      keys: () => this.#keys,
      pause: (bytes) => this.#pause(bytes),
    });
  }

  /** Begins when `ready` has settled. */
  start(ready: Promise<unknown> = Promise.resolve()): void {
    this.#running = ready.then(
      () => this.#run(),
      () => this.#run(),
    );
  }

  /** From now on the keys of this configuration count. */
  reconfigure(config: KeysConfig): void {
    this.#keys = new TrustedKeys(config);
  }

  /** When nothing of it is under way; it must have been told to end. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { emit, signal } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#round();
      } catch (error) {
        if (signal.aborted) return;
        emit({ kind: 'scrub-failed', error, againMs: RETRY_MS });
        await this.#clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    }
  }

  async #round(): Promise<void> {
    const { emit, periodMs, signal, upkeep } = this.#options;
    const now = this.#clock.now();
    const fresh: Position = { startedAt: now, after: undefined, objects: 0, bytes: 0, findings: 0 };
    const saved = (await loadPosition(upkeep)) ?? fresh;
    // The position may have been noted before the clock was set back.
    let position = { ...saved, startedAt: Math.min(saved.startedAt, now) };
    await this.#save(position);
    const counted = upkeep.totals ?? (await upkeep.count(signal));
    const restShare = Math.max(0, 1 - position.bytes / Math.max(1, counted.bytes));
    const deadline = Math.max(position.startedAt + periodMs, now + LATE * periodMs * restShare);
    let due = now;
    try {
      for await (const source of upkeep.places(position.after)) {
        const left = Math.max(0, deadline - due);
        const rest = (upkeep.totals ?? counted).bytes - position.bytes;
        this.#bytesPerMs = Math.max(LEAST_BYTES_PER_MS, left > 0 ? (FASTER * rest) / left : 0);
        const checked = await checkAny(this.#checker, source);
        const { bytes } = checked;
        position = {
          ...position,
          after: source.place,
          objects: position.objects + (checked.state === 'gone' ? 0 : 1),
          bytes: position.bytes + bytes,
          findings: position.findings + (await this.#act(checked)),
        };
        this.#position = position;
        // An object gets that share of the time left that its bytes are of the bytes left.
        due += (left * bytes) / Math.max(rest, bytes, 1);
        await this.#until(due);
      }
    } finally {
      // Saved in any case, so that objects read so far are not read again.
      await this.#save(position).catch((error) => emit({ kind: 'scrub-failed', error, againMs: undefined }));
    }
    const { bytes, findings, objects, startedAt } = position;
    // Told only once, also if a restart comes between the last object and the end of the period.
    if (saved.after === undefined || objects > saved.objects) {
      emit({ kind: 'scrubbed', objects, bytes, findings, ms: this.#clock.now() - startedAt });
    }
    await this.#until(startedAt + periodMs);
    await this.#save({ ...fresh, startedAt: this.#clock.now() });
  }

  /** Sleeps until then, but never longer than a period, whatever was done to the clock. */
  async #until(due: number): Promise<void> {
    const { periodMs, signal } = this.#options;
    const { now, sleep } = this.#clock;
    signal.throwIfAborted();
    const wait = Math.min(due - now(), periodMs);
    if (this.#position !== undefined && (wait > SAVE_MS || now() - this.#savedAt > SAVE_MS))
      await this.#save(this.#position);
    if (wait < SHORTEST_NAP_MS) return;
    for (let left = wait; left > 0; left -= NAP_MS) await sleep(Math.min(left, NAP_MS), signal);
  }

  async #pause(bytes: number): Promise<void> {
    const { signal } = this.#options;
    signal.throwIfAborted();
    this.#owedMs += bytes / this.#bytesPerMs;
    if (this.#owedMs < SHORTEST_NAP_MS) return;
    const nap = this.#owedMs;
    this.#owedMs = 0;
    await this.#clock.sleep(nap, signal);
  }

  async #save(position: Position): Promise<void> {
    await savePosition(this.#options.upkeep, position);
    this.#position = undefined;
    this.#savedAt = this.#clock.now();
  }

  /** How much was found. */
  async #act({ findings }: Checked): Promise<number> {
    const { config, emit, signal, upkeep } = this.#options;
    let count = 0;
    for (const finding of findings) {
      if (finding.kind === 'doubtful') {
        count++;
        emit({ kind: 'scrub-doubt', label: finding.label, reason: finding.reason });
        continue;
      }
      if (!(await this.#setAside(finding))) continue;
      count++;
      if (finding.name?.kind === 'narinfo') continue;
      // With its narinfo still here, clients would believe that they need not push it again.
      const lost = new Set([finding.id]);
      for await (const one of narInfosOf(upkeep, config.storeDir, lost, signal)) {
        if (!one.pushed || !(await this.#isDangling(one.finding))) continue;
        if (await this.#setAside(one.finding)) count++;
      }
    }
    return count;
  }

  /** Somebody may have pushed its NAR again since. */
  async #isDangling({ place }: Finding): Promise<boolean> {
    if (place === undefined) return false;
    const { findings } = await this.#checker.check(place);
    return findings.some(({ kind }) => kind === 'dangling');
  }

  async #setAside({ label, place, reason, version }: Finding): Promise<boolean> {
    return place !== undefined && this.#options.upkeep.setAside({ place, version }, label, reason);
  }
}
