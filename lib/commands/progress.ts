// How far a long command has come: a bar on a terminal, a plain line now and then elsewhere.
import type { Writable } from 'node:stream';
import { formatAge, formatBytes } from '../format.ts';
import type { Progress } from '../keep/verify-folder.ts';

const BAR = 24;
const TERMINAL_MS = 200;
const PLAIN_MS = 10_000;
/** What the first moments take tells nothing of the rest. */
const GUESS_MS = 1000;
const CLEAR = '\r\x1b[K';

/** What there is to say, with a bar of `width` characters if that is above 0. */
export function progressText({ bytes, done, findings }: Progress, elapsedMs: number, width: number): string {
  const filled = Math.floor(done * width);
  const bar = width > 0 ? [`[${'#'.repeat(filled)}${'.'.repeat(width - filled)}]`] : [];
  const rate = elapsedMs > 0 ? (bytes * 1000) / elapsedMs : 0;
  const leftMs = done > 0 && elapsedMs >= GUESS_MS ? (elapsedMs * (1 - done)) / done : undefined;
  return [
    ...bar,
    `${String(Math.floor(done * 100)).padStart(3)} %`,
    `${formatBytes(bytes)} read`,
    `${formatBytes(rate)}/s`,
    ...(leftMs === undefined ? [] : [`${formatAge(leftMs)} left`]),
    ...(findings === 0 ? [] : [`${findings} found`]),
  ].join('  ');
}

export class ProgressLine {
  readonly #out: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly #now: () => number;
  readonly #started: number;
  #last: number;
  #drawn = false;

  constructor(out: Writable & { readonly isTTY?: boolean }, now: () => number = () => performance.now()) {
    this.#out = out;
    this.#now = now;
    this.#started = now();
    this.#last = this.#started;
  }

  update(progress: Progress): void {
    const now = this.#now();
    const isTerminal = this.#out.isTTY === true;
    if (now - this.#last < (isTerminal ? TERMINAL_MS : PLAIN_MS)) return;
    this.#last = now;
    const text = progressText(progress, now - this.#started, isTerminal ? BAR : 0);
    if (!isTerminal) this.#out.write(`${text.trimStart()}\n`);
    // A line that is broken by the terminal can't be cleared.
    else this.#out.write(CLEAR + text.slice(0, (this.#out.columns ?? 80) - 1));
    this.#drawn = isTerminal;
  }

  /** Makes room for other lines; the bar comes again with the next update. */
  clear(): void {
    if (this.#drawn) this.#out.write(CLEAR);
    this.#drawn = false;
  }
}
