// Connections in the middle of their TLS handshake. Node's HTTP server does not count them as its own yet, but waits for them
// before it has stopped.
import type { Server } from 'node:https';
import type { Socket } from 'node:net';

export class Handshakes {
  readonly #sockets = new Map<string, Socket>();

  watch(server: Server): void {
    server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket);
      this.#sockets.set(peer, socket);
      socket.once('close', () => {
        if (this.#sockets.get(peer) === socket) this.#sockets.delete(peer);
      });
    });
    server.on('secureConnection', (socket: Socket) => this.#sockets.delete(peerOf(socket)));
  }

  /** Ends them all. */
  stop(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}

/** The socket that TLS runs on can't be had from that of TLS, but both have the same peer. */
function peerOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
