// Keeps the finished connections of one upstream for the next request. Sockets come from `dial`, TLS and proxies
// included, so to node:http every upstream is plain HTTP over a socket that is there.
import { Agent, type AgentOptions, type ClientRequestArgs } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Target } from './dial.ts';
import { TidyConnection } from './tidy-head.ts';

/** Longer than between two requests of one `nix` run, shorter than the idle limits of common servers. */
export const IDLE_MS = 30_000;
/** The oldest connection that is kept for another request: a name may have moved to another address. */
export const GREATEST_AGE_MS = 60_000;

/** Bytes of an answer's head. */
export const MAX_HEAD = 64 * 1024;

/** What a request through a {@link DialAgent} carries beside node:http's own options. */
export interface DialArgs extends ClientRequestArgs {
  readonly target: Target;
  readonly dialSignal: AbortSignal;
  /** Whether its head may have the length twice; such a connection is used once. */
  readonly tidy?: boolean;
}

type Dialler = (target: Target, signal: AbortSignal) => Promise<Socket>;

export class DialAgent extends Agent {
  /** For messages: ` through proxy http://…`, or nothing. */
  readonly through: string;
  /** Whether the last answer could be read only so: then the next ones may be like it. */
  tidy = false;
  readonly #dial: Dialler;
  readonly #now: () => number;
  readonly #madeAt = new WeakMap<Duplex, number>();

  /** `now`: milliseconds from anywhere. */
  constructor(dial: Dialler, maxIdle: number, through = '', now = () => performance.now()) {
    // `timeout` closes idle sockets; on a busy one it only raises an event that nobody here listens to.
    const options: AgentOptions = {
      keepAlive: true,
      maxFreeSockets: maxIdle,
      scheduling: 'lifo',
      timeout: IDLE_MS,
    };
    super(options);
    this.#dial = dial;
    this.through = through;
    this.#now = now;
  }

  override getName(options?: object): string {
    const { target, tidy } = options as DialArgs;
    return `${tidy}:${target.tls}:${target.host}:${target.port}:${target.onlyPublic}`;
  }

  override createConnection(
    options: object,
    callback: (error: Error | null, socket?: Duplex) => void,
  ): undefined {
    const { target, dialSignal, tidy } = options as DialArgs;
    this.#dial(target, dialSignal).then(
      (socket) => {
        this.#madeAt.set(socket, this.#now());
        callback(null, tidy === true ? new TidyConnection(socket, MAX_HEAD) : socket);
      },
      (error) => callback(error),
    );
    return undefined;
  }

  /** Called when a request is done with it; false ends it. */
  override keepSocketAlive(socket: Duplex): boolean {
    const age = this.#now() - (this.#madeAt.get(socket) ?? Number.NEGATIVE_INFINITY);
    // The type declaration hides the return value.
    return age < GREATEST_AGE_MS && Boolean(super.keepSocketAlive(socket));
  }
}
