// How fast one answer arrives, while it does.
import type { Answer } from '../upstream/answer.ts';
import type { SourceState } from './sources.ts';

/** How often a running answer is added to its source's pace. */
const NOTE_MS = 250;
/** How long an answer has, again and again, to show how fast it is. */
const SHOW_MS = 5000;
/** Less of a coded answer shows how soon it begins rather than how fast it comes. */
const TELLING_BYTES = 64 * 1024;

export class Meter {
  readonly #started = performance.now();
  readonly #state: SourceState;
  readonly #tell: (pace: number) => void;
  readonly #answer: Pick<Answer, 'body' | 'undone'>;
  #bytes = 0;
  #noted = { bytes: 0, received: 0, at: this.#started };
  #shown = { bytes: 0, at: this.#started };
  #lately: number | undefined;

  constructor(state: SourceState, answer: Pick<Answer, 'body' | 'undone'>, tell: (pace: number) => void) {
    this.#state = state;
    this.#answer = answer;
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
    const { coding, pace } = this.#state.source.upstream;
    const { body, undone } = this.#answer;
    const { received = 0 } = body;
    if (undone !== undefined && received < TELLING_BYTES) return;
    const bytes = this.#bytes - this.#noted.bytes;
    const ms = now - this.#noted.at;
    // What a coded answer is decoded to says nothing of how long a part takes.
    if (undone === undefined) pace.note(bytes, ms);
    else coding.note({ bytes, ms, received: received - this.#noted.received });
    this.#noted = { bytes: this.#bytes, received, at: now };
  }
}
