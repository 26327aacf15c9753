// Who waits for the first answer to a question. When all of them have left, and it has had its time, the question is given up:
// some answers take minutes to begin, and until then they hold a connection.
import { CacheError } from '../errors.ts';

export class Audience {
  readonly #controller = new AbortController();
  readonly #stopping: AbortSignal;
  readonly #stop = () => this.#controller.abort(this.#stopping.reason);
  #waiting = 0;
  #isLate = false;
  readonly #timer: NodeJS.Timeout;

  /** The question is left alone for `graceMs`, whoever leaves; `stopping` ends it in any case. */
  constructor(graceMs: number, stopping: AbortSignal) {
    this.#stopping = stopping;
    stopping.addEventListener('abort', this.#stop);
    if (stopping.aborted) this.#stop();
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#look();
    }, graceMs);
  }

  /** Aborted when nobody wants it any more. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Somebody waits, until `gone`. What is answered is to be called when the wait is over. */
  join(gone: AbortSignal | undefined): () => void {
    this.#waiting++;
    let waits = true;
    const leave = () => {
      gone?.removeEventListener('abort', leave);
      if (!waits) return;
      waits = false;
      this.#waiting--;
      this.#look();
    };
    gone?.addEventListener('abort', leave);
    if (gone?.aborted) leave();
    return leave;
  }

  #look(): void {
    if (this.#isLate && this.#waiting === 0)
      this.#controller.abort(new CacheError('aborted', 'nobody wants it any more'));
  }

  /** The answer is there, or there is none. */
  end(): void {
    clearTimeout(this.#timer);
    this.#stopping.removeEventListener('abort', this.#stop);
  }
}
