// Pauses of a thread that looks at many files: others need the disk too, and have somebody waiting for them.

const PAUSE_MS = 1;

/** All of them, with a pause after every so many. */
export function* breathing<T>(all: Iterable<T>, every: number): Generator<T> {
  let count = 0;
  for (const one of all) {
    yield one;
    if (++count % every === 0) sleep(PAUSE_MS);
  }
}

/** Has the thread do nothing for so long. */
export function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
