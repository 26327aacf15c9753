// Threads of our own that are at work on the disk just now: Node waits for them when it exits, however long the disk hangs.

let atWork = 0;

/** Whether the process would have to wait for one. */
export function areOwnThreadsBusy(): boolean {
  return atWork > 0;
}

/** A thread has begun something; to be called when that has ended. */
export function threadBegins(): () => void {
  let isOver = false;
  atWork++;
  return () => {
    if (isOver) return;
    isOver = true;
    atWork--;
  };
}

/** The file of a thread beside the module at `url`: as a source (.ts), as it is built, and as what it is put together in (.js). */
export function threadFile(name: string, url: string): URL {
  return new URL(`./${name}${url.endsWith('.ts') ? '.ts' : '.js'}`, url);
}
