// How far a long command has come: a bar on a terminal, a plain line now and then elsewhere.
import type { Writable } from 'node:stream';

const BAR = 24;
const TERMINAL_MS = 200;
const PLAIN_MS = 10_000;
const CLEAR = '\r\x1b[K';

/** What a command writes to: answers go to one, all else to the other. */
export interface Output {
  readonly stdout: Writable;
  readonly stderr: Terminal;
}

export type Terminal = Writable & { readonly isTTY?: boolean; readonly columns?: number };

export class ProgressLine {
  readonly #out: Terminal;
  readonly #now: () => number;
  readonly #started: number;
  #last: number;
  #drawn = false;

  constructor(out: Terminal, now: () => number = () => performance.now()) {
    this.#out = out;
    this.#now = now;
    this.#started = now();
    this.#last = this.#started;
  }

  /** `done` is from 0 to 1; `words` gets how many milliseconds that has taken. */
  update(done: number, words: (elapsedMs: number) => string): void {
    const now = this.#now();
    const isTerminal = this.#out.isTTY === true;
    if (now - this.#last < (isTerminal ? TERMINAL_MS : PLAIN_MS)) return;
    this.#last = now;
    const text = words(now - this.#started);
    if (!isTerminal) this.#out.write(`${text.trimStart()}\n`);
    // A line that the terminal wraps can't be cleared.
    else this.#out.write(CLEAR + `${bar(done)}  ${text}`.slice(0, (this.#out.columns || 80) - 1));
    this.#drawn = isTerminal;
  }

  /** Makes room for other lines; the bar comes again with the next update. */
  clear(): void {
    if (this.#drawn) this.#out.write(CLEAR);
    this.#drawn = false;
  }
}

function bar(done: number): string {
  return `[${'#'.repeat(Math.floor(done * BAR)).padEnd(BAR, '.')}]`;
}
