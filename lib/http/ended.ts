// Whether all of an answer went out: as far as anybody here can know, that is when the kernel has all of it.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Whether an answer that has just been ended is with the kernel already; what is left in memory may never go out. */
export function isOut(res: ServerResponse): boolean {
  // From Node 24 on `writableFinished` says so only in the next turn.
  return res.writableEnded && res.writableLength === 0 && res.socket !== null && isSound(res.socket);
}

/** Tells, once nothing more happens with the answer, whether all of it went out. */
export function whenOver(res: ServerResponse, tell: (whole: boolean) => void): void {
  const { socket } = res.req;
  let whole = false;
  // Node finishes an answer that could not be written as well, and then it does not say that of it any more.
  res.once('finish', () => {
    whole = isSound(socket);
  });
  res.once('close', () => tell(whole));
}

function isSound(socket: Socket): boolean {
  return socket.errored === null && !socket.destroyed;
}
