// The addresses of names. One lookup of a name at a time, which everybody joins who needs it; what it found is believed for a
// while, and for longer if the name servers are late. Names that get no answer hold up no others.
import { setMaxListeners } from 'node:events';
import { isIP } from 'node:net';
import { CacheError, isErrno, lacksDescriptors } from '../errors.ts';
import { Slots } from '../sync/slots.ts';
import { type Address, type Look, lookUp, MAX_LOOKUPS } from './lookups.ts';

export type { Address } from './lookups.ts';

/** How long an answer is believed without asking again. Nobody tells us how long it holds. */
const FRESH_MS = 10_000;
/** How long the next answer is waited for by who has one that was good before. */
const LATE_MS = 500;
/** How long an answer is good enough while no other can be had. */
const GOOD_MS = 3_600_000;
/** How long a failure is the answer to those who ask next. */
const FAILED_MS = 1000;
const MAX_NAMES = 1000;
/** Names that strangers lead us to and that wait to be looked up; who is sent to more of them is refused. */
const MAX_QUEUE = 100;

interface Entry {
  found?: { readonly addresses: readonly Address[]; readonly at: number };
  failed?: { readonly error: unknown; readonly at: number };
  looking?: Looking;
}

interface Looking {
  readonly asked: number;
  readonly done: Promise<readonly Address[]>;
  /** When it left the queue. */
  readonly begun: Promise<number>;
}

export interface Patience {
  /** From the beginning of the lookup. The time in the queue is nobody's fault, and not counted. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Whether somebody else has led us to the name: such names must not get in the way of ours. */
  readonly foreign?: boolean;
}

interface ResolverOptions {
  readonly look?: Look;
  /** Milliseconds from anywhere. */
  readonly now?: () => number;
}

export class Resolver {
  readonly #look: Look;
  readonly #now: () => number;
  /** The one that was asked for last is the last. */
  readonly #entries = new Map<string, Entry>();
  readonly #slots = new Slots(MAX_LOOKUPS);
  readonly #foreign = new Slots(MAX_LOOKUPS / 2, this.#slots);
  readonly #stopping = new AbortController();
  #queued = 0;

  constructor({ look = lookUp, now = () => performance.now() }: ResolverOptions = {}) {
    this.#look = look;
    // Any number of waiters may listen: that is no leak.
    setMaxListeners(0, this.#stopping.signal);
    this.#now = now;
  }

  /**
   * The addresses of a name, at least one; an address is its own.
   * @throws an errno for a name that is unknown (`ENOTFOUND`) or can't be looked up; CacheError `timeout` if no answer comes in
   * time; the signal's reason
   */
  async addresses(host: string, patience: Patience): Promise<readonly Address[]> {
    const family = isIP(host);
    if (family !== 0) return [{ address: host, family }];
    const entry = this.#entryOf(host);
    const now = this.#now();
    const { failed, found } = entry;
    if (found !== undefined && now < found.at + FRESH_MS) return found.addresses;
    const last = found !== undefined && now < found.at + GOOD_MS ? found.addresses : undefined;
    if (failed !== undefined && now < failed.at + FAILED_MS) {
      if (last !== undefined) return last;
      throw failed.error;
    }
    const looking = entry.looking ?? this.#begin(host, entry, patience.foreign === true);
    try {
      return await this.#wait(
        looking,
        last === undefined ? patience : { ...patience, timeoutMs: LATE_MS },
        last !== undefined,
      );
    } catch (error) {
      patience.signal.throwIfAborted();
      // The name servers answered: the name does not exist any more.
      if (last === undefined || isErrno(error, 'ENOTFOUND')) throw error;
      return last;
    }
  }

  /** From now on nobody waits for a name server: what is known must do. */
  hurry(): void {
    this.#stopping.abort(new CacheError('timeout', 'the service is stopping'));
  }

  #entryOf(host: string): Entry {
    const entry = this.#entries.get(host) ?? {};
    this.#entries.delete(host);
    this.#entries.set(host, entry);
    if (this.#entries.size > MAX_NAMES) {
      for (const [name, { looking }] of this.#entries) {
        if (looking !== undefined || name === host) continue;
        this.#entries.delete(name);
        break;
      }
    }
    return entry;
  }

  #begin(host: string, entry: Entry, foreign: boolean): Looking {
    if (foreign && this.#queued >= MAX_QUEUE)
      throw new CacheError('upstream', `${host}: too many other names wait to be looked up`);
    const never = new AbortController().signal;
    this.#queued++;
    const turn = (foreign ? this.#foreign : this.#slots).acquire(never);
    const begun = turn.then(() => {
      this.#queued--;
      return this.#now();
    });
    const done = turn.then(async (release) => {
      try {
        const addresses = inTurns(await this.#look(host));
        if (addresses.length === 0)
          throw Object.assign(new Error(`ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
        entry.found = { addresses, at: this.#now() };
        delete entry.failed;
        return addresses;
      } catch (error) {
        // A lack of descriptors is our own trouble and may be over in a moment, so it is not remembered.
        if (!lacksDescriptors(error)) entry.failed = { error, at: this.#now() };
        if (isErrno(error, 'ENOTFOUND')) delete entry.found;
        throw error;
      } finally {
        delete entry.looking;
        release();
      }
    });
    // Avoid an unhandled rejection if nobody waits any more.
    done.catch(() => {});
    entry.looking = { asked: this.#now(), begun, done };
    return entry.looking;
  }

  /** Its answer, if that comes soon enough; who has another one, or was led here, also counts the time in the queue. */
  async #wait(
    { asked, begun, done }: Looking,
    patience: Patience,
    hasOther: boolean,
  ): Promise<readonly Address[]> {
    const { foreign = false, signal, timeoutMs: ms } = patience;
    let isOver = false;
    let timer: NodeJS.Timeout | undefined;
    let onAbort = () => {};
    const { signal: stopping } = this.#stopping;
    let onStop = () => {};
    const late = new Promise<never>((_, reject) => {
      const expire = (since: number) => {
        if (isOver) return;
        const left = Math.max(0, since + ms - this.#now());
        const error = new CacheError('timeout', `no name server has answered within ${ms} ms`);
        timer = setTimeout(() => reject(error), left);
      };
      if (hasOther || foreign) expire(asked);
      else begun.then(expire, () => {});
      onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort);
      onStop = () => reject(stopping.reason);
      stopping.addEventListener('abort', onStop);
      if (stopping.aborted) onStop();
      if (signal.aborted) onAbort();
    });
    try {
      return await Promise.race([done, late]);
    } finally {
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      stopping.removeEventListener('abort', onStop);
    }
  }
}

/** The families take turns (RFC 8305, 4), beginning with that of the first: one of them may lead nowhere from here. */
export function inTurns(addresses: readonly Address[]): Address[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family);
  const others = addresses.filter(({ family }) => family !== addresses[0]?.family);
  const longest = Math.max(first.length, others.length);
  const places = Array.from({ length: longest }, (_, index) => [first[index], others[index]]);
  return places.flat().filter((one) => one !== undefined);
}

/** Of this process. */
export const names = new Resolver();
