// Keeps to what a host asks of whoever asks it too often (429): nothing is sent before its time has come, and then one request,
// from which the number of those at once grows again.
import { Changes } from '../sync/changes.ts';
import type { Clock } from './breaker.ts';

/** What a Retry-After may come to. */
const LEAST_MS = 250;
const MOST_MS = 60_000;
/** Without one: this, doubled each time. */
const FIRST_MS = 1000;
/** So many at once are no bound any more. */
const ENOUGH = 32;

export class Throttle {
  readonly #clock: Clock;
  #until = Number.NEGATIVE_INFINITY;
  #limit = Number.POSITIVE_INFINITY;
  #busy = 0;
  #nextMs = FIRST_MS;
  readonly #changes = new Changes();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether nothing is to be sent now. */
  get holds(): boolean {
    return this.leftMs > 0 || this.#busy >= this.#limit;
  }

  /** Whether it has asked lately to be left alone, so that whatever nobody waits for does. */
  get isStrict(): boolean {
    return this.#limit !== Number.POSITIVE_INFINITY;
  }

  /** For how long nothing is to be sent. */
  get leftMs(): number {
    return this.#until - this.#clock.now();
  }

  /**
   * A turn to send one request, to be given back when its answer begins; undefined if there is none within `ms`. Rejects with
   * the signal's reason.
   */
  async turn(ms: number, signal: AbortSignal): Promise<(() => void) | undefined> {
    const deadline = this.#clock.now() + ms;
    while (this.holds) {
      const patience = deadline - this.#clock.now();
      if (patience <= 0 || this.leftMs > patience) return undefined;
      signal.throwIfAborted();
      const ms = this.leftMs > 0 ? this.leftMs : patience;
      await this.#changes.next({ ms, signal, after: (later, run) => this.#clock.after(later, run, true) });
      signal.throwIfAborted();
    }
    this.#busy++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#busy--;
      this.#changes.tell();
    };
  }

  /** It has said that it was asked too often, and perhaps for how long to wait. */
  refused(retryAfter: string | undefined): void {
    const ms = millisecondsOf(retryAfter) ?? this.#nextMs;
    this.#nextMs = Math.min(2 * this.#nextMs, MOST_MS);
    const until = this.#clock.now() + Math.min(Math.max(ms, LEAST_MS), MOST_MS);
    this.#until = Math.max(this.#until, until);
    this.#limit = 1;
  }

  /** It has answered otherwise. */
  succeeded(): void {
    if (this.#limit === Number.POSITIVE_INFINITY || this.leftMs > 0) return;
    this.#nextMs = FIRST_MS;
    // The limit grows by one after as many answers as it allows at once.
    this.#limit += 1 / Math.floor(this.#limit);
    if (this.#limit >= ENOUGH) this.#limit = Number.POSITIVE_INFINITY;
    this.#changes.tell();
  }
}

/** Seconds, or a date: RFC 9110, 10.2.3. */
function millisecondsOf(retryAfter: string | undefined): number | undefined {
  const text = retryAfter?.trim() ?? '';
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : date - Date.now();
}
