// A client that ends its half of the connection may still want its answer, or may have left: both look the same (a FIN) until
// something is written to it. So it is asked: an interim 100, which every HTTP/1.1 client reads over, brings a reset from one that
// has left. Without this nobody would know of a client that leaves while an upstream is slow, and fetch on for it.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** It may leave later, too. */
const ASK_EVERY_MS = 10_000;
/** HTTP/1.0 knows no interim answers, and behind a head none is possible: silence of that length is taken for leaving. */
const SILENT_MS = 60_000;

/** Watches a connection whose present answer is `answering()`, if there is one. */
export function watchHalfOpen(socket: Socket, answering: () => ServerResponse | undefined): void {
  socket.once('end', () => {
    let written = socket.bytesWritten;
    let writtenAt = performance.now();
    const look = () => {
      const now = performance.now();
      if (socket.bytesWritten !== written) writtenAt = now;
      if (now - writtenAt >= SILENT_MS) socket.destroy();
      const res = answering();
      if (res !== undefined && !res.headersSent && res.req.httpVersionMinor > 0) res.writeContinue();
      // The question is no answer.
      written = socket.bytesWritten;
    };
    const timer = setInterval(look, ASK_EVERY_MS).unref();
    socket.once('close', () => clearInterval(timer));
    look();
  });
}
