// How fast one answer arrives, while it does.
import type { SourceState } from './sources.ts';

/** How often a running answer is added to its source's pace. */
const NOTE_MS = 250;
/** How long an answer has, again and again, to show how fast it is. */
const SHOW_MS = 5000;

export class Meter {
  readonly #started = performance.now();
  readonly #state: SourceState;
  readonly #tell: (pace: number) => void;
  #bytes = 0;
  #noted = { bytes: 0, at: this.#started };
  #shown = { bytes: 0, at: this.#started };
  #lately: number | undefined;

  constructor(state: SourceState, tell: (pace: number) => void) {
    this.#state = state;
    this.#tell = tell;
  }

  /** Bytes per millisecond, of all of it. */
  get pace(): number {
    return this.#bytes / Math.max(performance.now() - this.#started, 1);
  }

  /** The same of five seconds that have lately ended; undefined before that. What was fast once may have come to a trickle. */
  get lately(): number | undefined {
    return this.#lately;
  }

  note(bytes: number): void {
    this.#bytes += bytes;
    this.#tell(this.pace);
    const now = performance.now();
    if (now - this.#noted.at >= NOTE_MS) this.end();
    if (now - this.#shown.at < SHOW_MS) return;
    this.#lately = (this.#bytes - this.#shown.bytes) / (now - this.#shown.at);
    this.#shown = { bytes: this.#bytes, at: now };
  }

  end(): void {
    const now = performance.now();
    this.#state.source.upstream.pace.note(this.#bytes - this.#noted.bytes, now - this.#noted.at);
    this.#noted = { bytes: this.#bytes, at: now };
  }
}
