// Connections and their requests, one at a time. Node hands out pipelined requests all at once, and answers that wait for
// their turn on a connection are never told that it has gone: so a request begins when the one before it has ended.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Requests that may wait on one connection; Nix sends none before it has its answer. */
const MAX_WAITING = 100;

interface Connection {
  /** What is being sent, if something is. */
  answering: ServerResponse | undefined;
  readonly waiting: Waiting[];
}

interface Waiting {
  readonly res: ServerResponse;
  readonly begin: () => void;
}

export class Turns {
  readonly #connections = new Map<Socket, Connection>();
  #stopping = false;

  /** Must be told of every connection. */
  add(socket: Socket): void {
    this.#connections.set(socket, { answering: undefined, waiting: [] });
    socket.once('close', () => this.#connections.delete(socket));
  }

  /** Whether a request of the connection is being answered. */
  isBusy(socket: Socket): boolean {
    return this.answering(socket) !== undefined;
  }

  /** The answer that is being sent on the connection, if there is one. */
  answering(socket: Socket): ServerResponse | undefined {
    return this.#connections.get(socket)?.answering;
  }

  /** Runs `answer`, which ends `res`, when the requests before it on its connection have ended; never, if that is gone. */
  take(socket: Socket, res: ServerResponse, answer: () => void): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    const begin = () => {
      connection.answering = res;
      if (this.#stopping) res.setHeader('Connection', 'close');
      res.once('close', () => this.#ended(socket, connection));
      answer();
    };
    if (connection.answering === undefined) beginUnlessLate({ res, begin });
    else if (connection.waiting.length < MAX_WAITING) connection.waiting.push({ res, begin });
    else socket.destroy();
  }

  #ended(socket: Socket, connection: Connection): void {
    connection.answering = undefined;
    if (socket.destroyed) return;
    const next = connection.waiting.shift();
    if (next !== undefined) beginUnlessLate(next);
    // The answer may have promised to keep the connection.
    else if (this.#stopping) socket.destroySoon();
  }

  /** From now on a connection ends with its last request; those without one end now. */
  stop(): void {
    this.#stopping = true;
    for (const [socket, { answering }] of this.#connections) if (answering === undefined) socket.destroy();
  }
}

/**
 * Behind an answer that ends the connection, ours or one that Node gives by itself (to a request without a Host), Node gives
 * the next one no socket: it would be written, and waited for, in vain.
 */
function beginUnlessLate({ begin, res }: Waiting): void {
  if (res.socket !== null) begin();
}
