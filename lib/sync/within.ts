// What is waited for, but not for ever.

/** Calls `run` after so many milliseconds, unless what it answers is called before. */
export type After = (ms: number, run: () => void) => () => void;

/** By the process's clock. */
export const afterwards: After = (ms, run) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};

/** When `event` has settled, or `ms` later; rejects if it does by then. */
export async function within(ms: number, event: Promise<unknown>): Promise<void> {
  let cancel = () => {};
  const late = new Promise<void>((resolve) => {
    cancel = afterwards(ms, resolve);
  });
  await Promise.race([event, late]).finally(() => cancel());
}
