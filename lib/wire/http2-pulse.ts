// Whether one HTTP/2 connection lives: what comes of it shows that, and where nothing does while somebody waits, a ping.
import type { ClientHttp2Session } from 'node:http2';

/**
 * How long a connection may be silent while somebody waits before it is pinged, and how long that may take. Node says nothing of a
 * connection that it has given up as the peer broke the protocol.
 */
export const PATIENCE = { silenceMs: 4000, pingMs: 5000 };
/** Who has waited for less has shown nothing. */
const DOUBT_MS = 1000;

interface Owner {
  /** Milliseconds from anywhere. */
  now(): number;
  readonly patience: typeof PATIENCE;
  /** It is doubted, or not any more. */
  changed(): void;
  dead(why: string): void;
}

export class Pulse {
  readonly #session: ClientHttp2Session;
  readonly #owner: Owner;
  #seenAt: number;
  #isDoubted = false;
  #isPinged = false;
  #isOver = false;
  #watch: NodeJS.Timeout | undefined;

  constructor(session: ClientHttp2Session, owner: Owner) {
    this.#session = session;
    this.#owner = owner;
    this.#seenAt = owner.now();
  }

  /** Whether nobody knows if it lives, until its ping is answered. */
  get isDoubted(): boolean {
    return this.#isDoubted;
  }

  /** When something last came of it. */
  get seenAt(): number {
    return this.#seenAt;
  }

  /** Something has come of it. */
  seen(): void {
    this.#seenAt = this.#owner.now();
  }

  /** Somebody has waited in vain since then: if nothing at all has come meanwhile, it may be the connection that is dead. */
  doubt(since: number): void {
    if (this.#seenAt > since || this.#owner.now() - since < DOUBT_MS) return;
    this.#isDoubted = true;
    this.#ping();
    this.#owner.changed();
  }

  /** From now on somebody waits. */
  watch(): void {
    const { silenceMs } = this.#owner.patience;
    this.#watch = setInterval(() => {
      if (this.#owner.now() - this.#seenAt >= silenceMs) this.#ping();
    }, silenceMs);
  }

  /** From now on nobody does. */
  rest(): void {
    clearInterval(this.#watch);
  }

  /** It has ended. */
  stop(): void {
    this.#isOver = true;
    this.rest();
  }

  #ping(): void {
    if (this.#isPinged || this.#isOver) return;
    this.#isPinged = true;
    const timer = setTimeout(() => this.#owner.dead('did not answer a ping'), this.#owner.patience.pingMs);
    const answered = (error: Error | null) => {
      clearTimeout(timer);
      this.#isPinged = false;
      if (error !== null) return;
      this.seen();
      this.#isDoubted = false;
      this.#owner.changed();
    };
    try {
      if (!this.#session.ping(answered)) this.#owner.dead('takes no ping');
    } catch {
      // It has ended; whoever is on it hears that by itself.
      clearTimeout(timer);
    }
  }
}
