// Where an upstream may send us. A redirect, or a URL in a narinfo, must not lead from a stranger to machines that only we
// can reach: this one, and those of private networks. An upstream that is itself one of these may.
import { isIP, type Socket } from 'node:net';
import { isPrivate, isPrivateAnswer } from '../addresses.ts';
import { CacheError } from '../errors.ts';
import { names } from './resolve.ts';

/** How long a lookup may take that nobody would have asked for otherwise. */
const LOOKUP_MS = 5000;

/** Whether an upstream is itself in a private network, and may lead into one. */
export class Whereabouts {
  readonly #host: string;
  readonly #proxied: boolean;
  readonly #resolver: typeof names;
  #answeredFrom: string | undefined;
  #answeredFromPrivate: boolean | undefined;

  /** `host`: a name or an address. `proxied`: a proxy looks it up, and may reach what we can't. */
  constructor(host: string, proxied: boolean, resolver = names) {
    this.#resolver = resolver;
    this.#host = host;
    this.#proxied = proxied;
  }

  /** It has answered over this connection: whoever owns a name may have it looked up as they please, but not that. */
  answeredOn({ remoteAddress }: Pick<Socket, 'remoteAddress'>): void {
    // Each answer says it, and to look at an address takes a twelfth of all that a small answer takes.
    if (remoteAddress === undefined || remoteAddress === this.#answeredFrom) return;
    this.#answeredFrom = remoteAddress;
    const isName = isIP(this.#host) === 0;
    this.#answeredFromPrivate = isName ? isPrivateAnswer(remoteAddress) : isPrivate(remoteAddress);
  }

  /** For what can't be looked up, no. */
  async isPrivate(): Promise<boolean> {
    if (isPrivateByName(this.#host)) return true;
    if (this.#proxied || isIP(this.#host) !== 0) return false;
    if (this.#answeredFromPrivate !== undefined) return this.#answeredFromPrivate;
    const patience = { timeoutMs: LOOKUP_MS, signal: new AbortController().signal };
    const found = await this.#resolver.addresses(this.#host, patience).catch(() => []);
    return found.some(({ address }) => isPrivateAnswer(address));
  }
}

/** What can be said of a host without looking it up, as behind a proxy that does so itself. */
export function isPrivateByName(host: string): boolean {
  return isPrivate(host) || /(?:^|\.)localhost\.?$/i.test(host);
}

/** What is thrown where a stranger's upstream leads to `host`. */
export function unreachable(host: string): CacheError {
  // The host goes to the log only: a client that saw it could use an upstream to probe names of our network.
  return new CacheError(
    'upstream',
    'led into a private network, expected an address that a public upstream may send us to',
    new Error(`${host} is private`),
  );
}
