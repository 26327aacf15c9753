// The log's way to a stream. The lines that come with every request are gathered for a moment and written together: one write each costs
// more than the answer that the line tells of. All others are written at once, behind what was gathered.
import type { Writable } from 'node:stream';

const GATHER_MS = 5;
const MOST_GATHERED = 16 * 1024;
/** Characters that wait for whoever reads the log, and does not: what comes behind them is lost, and how much that was is told. */
const MOST_UNREAD = 1 << 20;

export class LogWriter {
  readonly #stream: Writable;
  #lines = '';
  #timer: NodeJS.Timeout | undefined;
  #lost = 0;

  /** `stream` must have a listener to its errors: a log that can't be written is no reason to fail. */
  constructor(stream: Writable) {
    this.#stream = stream;
  }

  /** Writes a whole line. */
  readonly write = (line: string): void => {
    this.#lines += line;
    this.flush();
  };

  /** Writes a whole line within a few milliseconds; the process does not end before by itself. */
  readonly writeSoon = (line: string): void => {
    this.#lines += line;
    if (this.#lines.length >= MOST_GATHERED) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), GATHER_MS);
  };

  /** Writes what was gathered. Must be called before the process is ended. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines = this.#lines;
    this.#lines = '';
    if (lines === '') return;
    if (this.#stream.writableLength > MOST_UNREAD) {
      this.#lost += lines.split('\n').length - 1;
      return;
    }
    const lost = this.#lost;
    this.#lost = 0;
    const gap =
      lost === 0
        ? ''
        : `${new Date().toISOString()} warn ${lost} lines are missing here: nobody read the log\n`;
    this.#stream.write(gap + lines);
  }
}
