// Connections and their requests, one at a time. Node hands out pipelined requests all at once, and answers that wait for
// their turn on a connection are never told that it has gone: so a request begins when the one before it has ended.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Requests that may wait on one connection; Nix sends none before it has its answer. */
const MAX_WAITING = 100;

interface Connection {
  /** What is being sent, if something is. */
  answering: ServerResponse | undefined;
  readonly waiting: Waiting[];
}

interface Waiting {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly answer: Answer;
}

/** Answers; whether all of it is with the kernel already, and nobody need wait for its end. */
export type Answer = (req: IncomingMessage, res: ServerResponse) => boolean;

export class Turns {
  readonly #connections = new Map<Socket, Connection>();
  #stopping = false;

  /** Must be told of every connection. */
  add(socket: Socket): void {
    this.#connections.set(socket, { answering: undefined, waiting: [] });
    socket.once('close', () => this.#connections.delete(socket));
  }

  /** Whether a request of the connection is being answered, or is to be. */
  isBusy(socket: Socket): boolean {
    const connection = this.#connections.get(socket);
    return connection !== undefined && isBusy(connection);
  }

  /** The answer that is being sent on the connection, if there is one. */
  answering(socket: Socket): ServerResponse | undefined {
    return this.#connections.get(socket)?.answering;
  }

  /** Whether every connection ends with the answer that it gets now. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** Has `answer`, which ends `res`, begin when the requests before it on its connection have ended; never, if that is gone. */
  take(req: IncomingMessage, res: ServerResponse, answer: Answer): void {
    const { socket } = req;
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    const { answering, waiting } = connection;
    if (!isBusy(connection) && res.socket !== null) {
      this.#begin(socket, connection, { req, res, answer });
    } else if (waiting.length < MAX_WAITING) {
      waiting.push({ req, res, answer });
      // What was answered at once has still to be seen off by Node, which does so within this turn.
      if (answering === undefined && waiting.length === 1) setImmediate(() => this.#next(socket, connection));
    } else socket.destroy();
  }

  #begin(socket: Socket, connection: Connection, { answer, req, res }: Waiting): void {
    connection.answering = res;
    if (this.#stopping) res.setHeader('Connection', 'close');
    if (!answer(req, res)) {
      res.once('close', () => {
        connection.answering = undefined;
        this.#next(socket, connection);
      });
      return;
    }
    connection.answering = undefined;
    if (connection.waiting.length > 0) setImmediate(() => this.#next(socket, connection));
  }

  /** Nothing is being answered. */
  #next(socket: Socket, connection: Connection): void {
    if (socket.destroyed || connection.answering !== undefined) return;
    const next = connection.waiting.shift();
    if (next !== undefined) {
      // Behind an answer that ends the connection, ours or one that Node gives by itself (to a request without a Host), Node
      // gives the next one no socket: it would be written, and waited for, in vain.
      if (next.res.socket !== null) this.#begin(socket, connection, next);
    }
    // The answer may have promised to keep the connection.
    else if (this.#stopping) socket.destroySoon();
  }

  /** From now on a connection ends with its last request; those without one end now. */
  stop(): void {
    this.#stopping = true;
    for (const [socket, connection] of this.#connections) if (!isBusy(connection)) socket.destroy();
  }
}

function isBusy({ answering, waiting }: Connection): boolean {
  return answering !== undefined || waiting.length > 0;
}
