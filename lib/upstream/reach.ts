// Where an upstream may send us. A redirect, or a URL in a narinfo, must not lead from a stranger to machines that only we
// can reach: this one, and those of private networks. An upstream that is itself one of these may.
import { type LookupAddress, lookup } from 'node:dns';
import { lookup as lookupNow } from 'node:dns/promises';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import { PRIVATE } from '../addresses.ts';
import { CacheError } from '../errors.ts';

/** Whether an upstream is itself in a private network, and may lead into one. */
export class Whereabouts {
  readonly #host: string;
  readonly #proxied: boolean;
  #answeredFromPrivate: boolean | undefined;

  /** `host`: a name or an address. `proxied`: a proxy looks it up, and may reach what we can't. */
  constructor(host: string, proxied: boolean) {
    this.#host = host;
    this.#proxied = proxied;
  }

  /** It has answered over this connection: whoever owns a name may have it looked up as they please, but not that. */
  answeredOn({ remoteAddress }: Pick<Socket, 'remoteAddress'>): void {
    if (remoteAddress !== undefined) this.#answeredFromPrivate = PRIVATE.has(remoteAddress);
  }

  /** For what can't be looked up, no. */
  async isPrivate(): Promise<boolean> {
    if (isPrivateByName(this.#host)) return true;
    if (this.#proxied || isIP(this.#host) !== 0) return false;
    if (this.#answeredFromPrivate !== undefined) return this.#answeredFromPrivate;
    const found = await lookupNow(this.#host, { all: true }).catch(() => []);
    return found.some(({ address }) => PRIVATE.has(address));
  }
}

/** What can be said of a host without looking it up, as behind a proxy that does so itself. */
export function isPrivateByName(host: string): boolean {
  return PRIVATE.has(host) || /(?:^|\.)localhost\.?$/i.test(host);
}

/** What is thrown where a stranger's upstream leads to `host`. */
export function unreachable(host: string): CacheError {
  return new CacheError(
    'upstream',
    `${host} is in a private network, expected an address that a public upstream may send us to`,
  );
}

/**
 * A lookup for `net.connect` that fails for a name with a private address. The check is made on the very addresses that are
 * then connected to: a name may have others at every question.
 */
export const lookupPublic: LookupFunction = (host, options, callback) => {
  lookup(host, { ...options, all: true }, (error, found: LookupAddress[]) => {
    if (error !== null) return callback(error, '');
    const [first] = found;
    if (first === undefined || found.some(({ address }) => PRIVATE.has(address))) {
      return callback(unreachable(host), '');
    }
    if (options.all) callback(null, found);
    else callback(null, first.address, first.family);
  });
};
