// Slows down whoever guesses tokens: after a few wrong ones an address's attempts, right or wrong, are answered one after the
// other, each after a wait that grows. A right one ends that for itself only: whoever has one token could guess others.
import { isIPv6 } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { CacheError } from '../errors.ts';
import { Until } from '../sync/until.ts';

/** Wrong ones that cost nothing: a client tries again a few times by itself. */
const FREE = 10;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
/** Attempts of one address that may wait; more are refused unread. */
const MAX_WAITING = 20;
/** How long a wrong one is remembered. */
const REMEMBERED_MS = 15 * 60_000;
const MAX_ADDRESSES = 10_000;

interface Guesser {
  wrong: number;
  waiting: number;
  /** Tokens that were right in the meantime. */
  readonly known: Set<string>;
  /** Settles when it is the turn of the next attempt. */
  turn: Promise<unknown>;
}

export class Guesses {
  /** By network; the one that guessed last is the last to be forgotten. */
  readonly #guessers = new Until<Guesser>(() => performance.now(), REMEMBERED_MS, MAX_ADDRESSES);
  readonly #signal: AbortSignal;

  /** `signal` ends all waiting. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * Waits until an attempt of this address may be looked at; nothing to wait for is undefined. `token` is the name of the
   * one that was shown, if it is right.
   * @throws CacheError `unauthorized` if too many wait already; by rejecting, the signal's reason
   */
  turn(address: string, token?: string): Promise<unknown> | undefined {
    const guesser = this.#guessers.get(networkOf(address));
    if (guesser === undefined || guesser.wrong < FREE) return undefined;
    if (guesser.waiting >= MAX_WAITING) {
      throw new CacheError('unauthorized', `too many wrong tokens came from ${address}, try again later`);
    }
    // Clients with a known token behind the same address are not delayed. Checked only now, when a wrong token would have to wait:
    // otherwise a client that does not wait for answers could learn quickly which tokens are in use there.
    if (token !== undefined && guesser.known.has(token)) return undefined;
    const ms = Math.min(FIRST_WAIT_MS * 2 ** (guesser.wrong - FREE), LONGEST_WAIT_MS);
    guesser.waiting++;
    guesser.turn = guesser.turn
      .then(() => delay(ms, undefined, { signal: this.#signal }))
      .catch(() => this.#signal.throwIfAborted())
      .finally(() => guesser.waiting--);
    return guesser.turn;
  }

  /** Whether a wrong token came from there lately. */
  guesses(address: string): boolean {
    return this.#guessers.has(networkOf(address));
  }

  wrong(address: string): void {
    const network = networkOf(address);
    const guesser = this.#guessers.get(network) ?? {
      ...{ wrong: 0, waiting: 0 },
      known: new Set<string>(),
      turn: Promise.resolve(),
    };
    guesser.wrong++;
    this.#guessers.set(network, guesser);
  }

  /** The token of this name was shown, and looked at. */
  right(address: string, token: string): void {
    this.#guessers.get(networkOf(address))?.known.add(token);
  }
}

/** A host has one IPv4 address, but at least 2⁶⁴ IPv6 ones. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [before = '', after] = address.split('%', 1)[0]?.split('::') ?? [];
  const groups = before === '' ? [] : before.split(':');
  const rest = after === undefined || after === '' ? [] : after.split(':');
  const zeros = after === undefined ? 0 : Math.max(0, 8 - groups.length - rest.length);
  return [...groups, ...Array.from({ length: zeros }, () => '0'), ...rest].slice(0, 4).join(':');
}
