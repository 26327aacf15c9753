// A client that ends its half of the connection may still want its answer, or may have left: both look the same (a FIN) until
// something is written to it, which brings a reset from one that has left. So an interim 100, which every HTTP/1.1 client reads
// over, asks whether it is still there. Nobody reads behind a FIN, so that the reset shows only at the next write: one of no
// bytes does. Without this nobody would know of a client that leaves while an upstream is slow, and fetch on for it.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** When to look, after the last time; then as the last of these. A client may be far away, and may leave later. */
const LOOKS_MS = [50, 200, 1000, 5000];
/**
 * Under TLS an empty write is none, HTTP/1.0 knows no interim answers, and behind the head of an answer nothing can be asked:
 * silence of that length is taken for leaving.
 */
const SILENT_MS = 60_000;
const NOTHING = Buffer.alloc(0);

/** Watches a connection whose present answer is `answering()`, if there is one. */
export function watchHalfOpen(socket: Socket, answering: () => ServerResponse | undefined): void {
  // Without this, Node would end the other half by itself.
  socket.allowHalfOpen = true;
  socket.once('end', () => {
    let looks = 0;
    let written = socket.bytesWritten;
    let writtenAt = performance.now();
    let timer: NodeJS.Timeout;
    const look = () => {
      const now = performance.now();
      if (socket.bytesWritten !== written) writtenAt = now;
      if (now - writtenAt >= SILENT_MS) socket.destroy();
      if (socket.destroyed) return;
      const res = answering();
      const mayAsk = res !== undefined && !res.headersSent && res.req.httpVersionMinor > 0;
      if (mayAsk && looks !== 1) res.writeContinue();
      else socket.write(NOTHING);
      // The interim 100 does not count as an answer.
      written = socket.bytesWritten;
      timer = setTimeout(look, LOOKS_MS[Math.min(looks++, LOOKS_MS.length - 1)]).unref();
    };
    look();
    socket.once('close', () => clearTimeout(timer));
  });
}
