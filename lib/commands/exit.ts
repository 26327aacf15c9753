// The end of the process in a hurry. Before it exits, Node waits for the threads that are at work for it: if the disk or the
// system's resolver hangs they are for long, and only a signal ends that.
import { setTimeout as delay } from 'node:timers/promises';
import { areOwnThreadsBusy } from '../sync/threads.ts';

const LOOKS = 10;
const LOOK_MS = 100;

/** Ends the process with `code`, or, if a thread does not end, by SIGKILL. */
export async function exitNow(code: number): Promise<void> {
  for (let looks = 0; areThreadsBusy(); looks++) {
    if (looks === LOOKS) return killSelf();
    await delay(LOOK_MS);
  }
  process.exit(code);
}

export function killSelf(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** `CloseReq` is a handle of `node:fs/promises` that is being closed, `GetAddrInfoReqWrap` a name that the system looks up. */
function areThreadsBusy(): boolean {
  if (areOwnThreadsBusy()) return true;
  return process
    .getActiveResourcesInfo()
    .some((name) => name.startsWith('FSReq') || name === 'CloseReq' || name === 'GetAddrInfoReqWrap');
}
