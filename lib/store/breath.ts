// Pauses of a thread that looks at many files: others need the disk too, and have somebody waiting for them.

/** However slow the disk is. */
const LONGEST_MS = 100;

export class Breath {
  readonly #files: number;
  readonly #share: number;
  #count = 0;
  #since = performance.now();

  /** After so many `files` it pauses for that `share` of the time they took. */
  constructor(files: number, share: number) {
    this.#files = files;
    this.#share = share;
  }

  /** To be called for every file. */
  take(): void {
    if (++this.#count % this.#files !== 0) return;
    const worked = performance.now() - this.#since;
    sleep(Math.min(LONGEST_MS, Math.max(1, worked * this.#share)));
    this.#since = performance.now();
  }
}

/** Has the thread do nothing for so long. */
export function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
