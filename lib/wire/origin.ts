// The connections to one server: what it speaks, which the first of them tells, and for HTTP/2 who asks over which. Few
// connections are opened, and each of them has a slot for as long as it is open. Whoever finds no place waits for one: first small
// requests and parts of large answers, then large answers, and after all of them what is fetched ahead.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { CacheError, isCacheError, share } from '../errors.ts';
import { Ahead, isAhead } from '../sync/ahead.ts';
import type { Slots } from '../sync/slots.ts';
import { AskAgain } from './ask-again.ts';
import { Session } from './http2.ts';
import { PATIENCE } from './http2-pulse.ts';
import { type Place, PlaceQueue, type Waiting, type Wish } from './place-queue.ts';
import { authority, type Target } from './target.ts';

/** How long a server is asked over HTTP/1.1 alone that did not do well with HTTP/2. */
const DISTRUST_MS = 10 * 60_000;
/** How long no further connection is opened beside those that work, after one could not be. */
const CONTENT_MS = 5000;
/** How long a connection that nobody knows what to do with is kept for those who waited for it. */
const SPARE_MS = 5000;
/** What is fetched ahead leaves so much of a connection to others. */
const AHEAD_SHARE = 3 / 4;
/** Large answers at once leave so much of it to small ones. */
const LARGE_SHARE = 1 / 2;

export interface OriginOptions {
  readonly target: Target;
  readonly dial: (target: Target, signal: AbortSignal, protocols: readonly string[]) => Promise<Socket>;
  /** The most connections that speak HTTP/2. */
  readonly most: number;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
  readonly patience?: typeof PATIENCE;
}

interface Opening {
  readonly ahead: Ahead;
  readonly stop: AbortController;
  /** Whether it is opened though nobody waits for it. */
  readonly isEarly: boolean;
}

export class Origin {
  readonly #target: Target;
  readonly #dial: OriginOptions['dial'];
  readonly #most: number;
  readonly #now: () => number;
  readonly #patience: typeof PATIENCE;
  #speaks: 'h2' | 'http/1.1' | undefined;
  #distrustedUntil = Number.NEGATIVE_INFINITY;
  #contentUntil = Number.NEGATIVE_INFINITY;
  readonly #sessions = new Set<Session>();
  readonly #openings = new Set<Opening>();
  readonly #spare = new Set<Socket>();
  readonly #queue = new PlaceQueue({
    entered: (waiting) => this.#entered(waiting),
    left: () => this.#pump(),
  });
  readonly #onCrowded = new Set<() => void>();
  #isClosed = false;

  constructor({ target, dial, most, now, patience = PATIENCE }: OriginOptions) {
    this.#target = target;
    this.#dial = dial;
    this.#most = most;
    this.#now = now;
    this.#patience = patience;
    if (!target.tls) this.#speaks = 'http/1.1';
  }

  /** Whether it has nothing but what it knows. */
  get isIdle(): boolean {
    return this.#sessions.size === 0 && this.#openings.size === 0 && this.#queue.isEmpty;
  }

  /** Whether a large answer waits that is not ahead. */
  get isCrowded(): boolean {
    return this.#queue.hasLarge && this.#openings.size === 0;
  }

  /** Has a connection be there before somebody needs one, if it may speak HTTP/2 and takes what is idle of the slots. */
  prepare(slots: Slots): void {
    const isNeeded = this.#speaks !== 'http/1.1' && this.#sessions.size + this.#openings.size === 0;
    const slot = isNeeded && !this.#isClosed ? slots.acquireIdle() : undefined;
    if (slot !== undefined) this.#open(slots, undefined, { slot, isEarly: true });
  }

  /** A place that is there, if nobody waits for one. */
  placeNow(wish: Wish): Place | undefined {
    if (!this.#queue.isEmpty || wish.size === 'part' || wish.signal.aborted) return undefined;
    const session = this.#choose(wish);
    return session && this.#take(session, wish);
  }

  /** A place for a request over HTTP/2; undefined if it is to be asked over HTTP/1.1. Rejects when no connection can be made. */
  async place(wish: Wish): Promise<Place | undefined> {
    if (this.#speaks === 'http/1.1') return undefined;
    wish.signal.throwIfAborted();
    if (this.#isClosed) throw new CacheError('aborted', 'the service is stopping');
    return this.#queue.wait(wish);
  }

  /** A connection that speaks HTTP/1.1. Rejects with AskAgain if the server has come to want HTTP/2. */
  async connect(signal: AbortSignal): Promise<Socket> {
    for (const spare of this.#spare) {
      this.#spare.delete(spare);
      if (!spare.destroyed && spare.readable) return spare;
    }
    const socket = await this.#dial(this.#target, signal, this.#protocols()).catch((error: unknown) => {
      // It may speak nothing but HTTP/2.
      if (this.#now() < this.#distrustedUntil && isCacheError(error, 'upstream')) this.#trust();
      throw error;
    });
    if (!speaksHttp2(socket)) return socket;
    socket.destroy();
    this.#trust();
    throw new AskAgain('h2', new CacheError('upstream', `${authority(this.#target)}: now speaks HTTP/2`));
  }

  /** From now on it is asked over HTTP/1.1, for a while. */
  distrust(): void {
    this.#distrustedUntil = this.#now() + DISTRUST_MS;
    for (const session of this.#sessions) session.end();
    this.#speakHttp1();
  }

  /** Calls `listener` when somebody may have begun to wait for a place for a large answer. */
  whenCrowded(listener: () => void): void {
    this.#onCrowded.add(listener);
  }

  /** Others want the slots that it has: connections that are idle are given up. */
  giveWay(): void {
    for (const session of this.#sessions) if (session.active === 0) session.end();
  }

  close(error: CacheError): void {
    this.#isClosed = true;
    for (const { stop } of this.#openings) stop.abort(error);
    for (const session of this.#sessions) session.destroy();
    for (const spare of this.#spare) spare.destroy();
    this.#failAll(error);
  }

  #trust(): void {
    this.#distrustedUntil = Number.NEGATIVE_INFINITY;
    this.#speaks = undefined;
  }

  #protocols(): readonly string[] {
    return this.#now() < this.#distrustedUntil ? ['http/1.1'] : ['h2', 'http/1.1'];
  }

  #entered({ ahead, size }: Waiting): void {
    const isWanted = !isAhead(ahead);
    if (isWanted) for (const opening of this.#openings) opening.ahead.wanted();
    this.#pump();
    if (isWanted && size !== 'small' && this.isCrowded) for (const listener of this.#onCrowded) listener();
  }

  /** Gives places to those who wait, as many as there are, and has connections opened for the others. */
  #pump(): void {
    this.#queue.serve((queue) => this.#serve(queue));
    // Nobody needs what is being opened: it would only be let go of.
    if (this.#queue.isEmpty && this.#sessions.size === 0)
      for (const opening of this.#openings) {
        if (opening.isEarly) continue;
        this.#openings.delete(opening);
        opening.stop.abort(new CacheError('aborted', 'no longer wanted'));
      }
  }

  #serve(queue: Waiting[]): void {
    for (let [next] = queue; next !== undefined; [next] = queue) {
      const { ahead, size, slots } = next;
      const session = this.#choose(next);
      if (session === undefined) {
        if (this.#openings.size === 0 && this.#mayOpen) this.#open(slots, ahead);
        return;
      }
      if (size === 'part' && session.large > 0) {
        // One more than these need, as one is left to small requests.
        if (this.#openings.size <= queue.length) this.#openIdle(slots, ahead);
        if (this.#openings.size > 0) return;
      }
      queue.shift();
      next.placed(this.#take(session, next));
    }
  }

  #take(session: Session, { ahead, size, slots }: Wish): Place {
    const isLarge = size !== 'small';
    const giveBack = session.take(isLarge);
    // Opened before it is needed, as this one will end soon, or small answers wait behind large ones, or those share it.
    const isShared = session.large > (isLarge ? 1 : 0);
    if (this.#openings.size === 0 && (isShared || session.isWorn)) this.#openIdle(slots, ahead);
    return { session, giveBack };
  }

  /** Where it is asked: where fewest large answers are, and no others at the limit. One connection is left without any. */
  #choose({ ahead, size }: Wish): Session | undefined {
    const isLarge = size !== 'small';
    let taking = 0;
    let quiet = 0;
    for (const { isTaking, large } of this.#sessions) {
      if (!isTaking) continue;
      taking++;
      if (large === 0) quiet++;
    }
    let best: Session | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    for (const session of this.#sessions) {
      const { active, large, most } = session;
      if (!session.isTaking || active >= (isAhead(ahead) ? Math.ceil(most * AHEAD_SHARE) : most)) continue;
      if (isLarge && large >= Math.ceil(most * LARGE_SHARE)) continue;
      if (isLarge && taking > 1 && quiet === 1 && large === 0) continue;
      const rank = (session.isWorn ? 1000 : 0) + large + (isLarge ? active / 1000 : 0);
      // Of two that are alike the older one, so that the other can end.
      if (rank < bestRank) [best, bestRank] = [session, rank];
    }
    return best;
  }

  /** Connections that end do not count, if there are no others. */
  get #mayOpen(): boolean {
    let taking = this.#openings.size;
    for (const session of this.#sessions) if (session.isTaking) taking++;
    if (taking === 0) return true;
    return this.#sessions.size + this.#openings.size < this.#most && this.#now() >= this.#contentUntil;
  }

  /** Beside those that are open, if nobody else wants what it takes. */
  #openIdle(slots: Slots, ahead: Ahead | undefined): void {
    const slot = this.#mayOpen ? slots.acquireIdle() : undefined;
    if (slot !== undefined) this.#open(slots, ahead, { slot });
  }

  #open(
    slots: Slots,
    ahead: Ahead | undefined,
    { isEarly = false, slot }: { readonly isEarly?: boolean; readonly slot?: () => void } = {},
  ): void {
    const opening = { ahead: new Ahead(), stop: new AbortController(), isEarly };
    if (!isAhead(ahead)) opening.ahead.wanted();
    this.#openings.add(opening);
    const settle = (then: () => void) => {
      this.#openings.delete(opening);
      then();
      this.#pump();
    };
    this.#openOne(slots, opening, slot).then(settle, (error) => settle(() => this.#notOpened(error)));
  }

  /** Answers what is to be done with the connection that is made. */
  async #openOne(slots: Slots, { ahead, stop }: Opening, slot?: () => void): Promise<() => void> {
    const { signal } = stop;
    const release = slot ?? (await slots.acquire(signal, 1, ahead));
    try {
      const socket = await this.#dial(this.#target, signal, this.#protocols());
      return () => {
        if (speaksHttp2(socket) && !this.#isClosed) this.#add(socket, release);
        else {
          release();
          this.#keep(socket);
          this.#speakHttp1();
        }
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  #add(socket: Socket, release: () => void): void {
    this.#speaks = 'h2';
    const session: Session = new Session(socket, `https://${authority(this.#target)}`, {
      now: this.#now,
      patience: this.#patience,
      changed: () => {
        if (session.isClosed && this.#sessions.delete(session)) release();
        this.#pump();
      },
    });
    this.#sessions.add(session);
  }

  #notOpened(error: unknown): void {
    if (isCacheError(error, 'aborted')) return;
    this.#contentUntil = this.#now() + CONTENT_MS;
    const isAlone = this.#openings.size === 0 && ![...this.#sessions].some(({ isTaking }) => isTaking);
    if (isAlone) this.#failAll(error instanceof Error ? share(error) : error);
  }

  #failAll(error: unknown): void {
    this.#queue.clear(({ failed }) => failed(error));
  }

  #speakHttp1(): void {
    this.#speaks = 'http/1.1';
    this.#queue.clear(({ placed }) => placed(undefined));
  }

  /** For whoever comes to open one, having waited for this. */
  #keep(socket: Socket): void {
    if (this.#queue.isEmpty || this.#isClosed) {
      socket.destroy();
      return;
    }
    this.#spare.add(socket);
    setTimeout(() => {
      if (this.#spare.delete(socket)) socket.destroy();
    }, SPARE_MS).unref();
  }
}

function speaksHttp2(socket: Socket): boolean {
  return socket instanceof TLSSocket && socket.alpnProtocol === 'h2';
}
