// How fast one answer arrives, while it does.
import type { SourceState } from './sources.ts';

/** How often a running answer is added to its source's pace. */
const NOTE_MS = 250;

export class Meter {
  readonly #started = performance.now();
  readonly #state: SourceState;
  readonly #tell: (pace: number) => void;
  #bytes = 0;
  #noted = { bytes: 0, at: this.#started };

  constructor(state: SourceState, tell: (pace: number) => void) {
    this.#state = state;
    this.#tell = tell;
  }

  get ms(): number {
    return performance.now() - this.#started;
  }

  /** Bytes per millisecond. */
  get pace(): number {
    return this.#bytes / Math.max(this.ms, 1);
  }

  note(bytes: number): void {
    this.#bytes += bytes;
    this.#tell(this.pace);
    if (performance.now() - this.#noted.at >= NOTE_MS) this.end();
  }

  end(): void {
    const now = performance.now();
    this.#state.source.upstream.pace.note(this.#bytes - this.#noted.bytes, now - this.#noted.at);
    this.#noted = { bytes: this.#bytes, at: now };
  }
}
