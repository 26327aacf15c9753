// Where an upstream may send us. A redirect, or a URL in a narinfo, must not lead from a stranger to machines that only we
// can reach: this one, and those of private networks. An upstream that is itself one of these may.
import { type LookupAddress, lookup } from 'node:dns';
import { lookup as lookupNow } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { PRIVATE } from '../addresses.ts';
import { CacheError } from '../errors.ts';

/** Whether a host, a name or an address, is in a private network; for what can't be looked up, no. */
export async function isPrivate(host: string): Promise<boolean> {
  if (isPrivateByName(host)) return true;
  if (isIP(host) !== 0) return false;
  const found = await lookupNow(host, { all: true }).catch(() => []);
  return found.some(({ address }) => PRIVATE.has(address));
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
