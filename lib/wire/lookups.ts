// Looks a name up: in /etc/hosts, then at the name servers, then, if those know no such name or refuse at once to say, by the
// system's resolver, which knows search domains, mDNS, nscd and whatever else nsswitch.conf has.
//
// Not by the system's resolver alone, as node:net does: it takes one of libuv's four threads until it has an answer, for up to
// half a minute if a name server is silent, and nothing ends that. Two such names would leave no thread for a third, and Node
// waits for them before it ends. Questions to name servers (c-ares) take no threads.
import { Resolver } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import { isErrno, lacksDescriptors } from '../errors.ts';
import { Slots } from '../sync/slots.ts';
import { inHosts } from './hosts.ts';

/** Names at once; each asks two questions. */
export const MAX_LOOKUPS = 16;
/** libuv gives names half of its four threads; one of them stays free. */
const MAX_SYSTEM_LOOKUPS = 1;
/** As the system's resolver: two tries, the second one longer. */
const QUESTIONS = { timeout: 3000, tries: 2 };
/** RFC 8305, section 3: so long is the other family's answer waited for when one is here. */
const OTHER_FAMILY_MS = 50;
/** Whoever fails as quickly as that fails the system's resolver as quickly, and takes its thread for no longer. */
const QUICK_MS = 1000;
/** What a name server says of a name that does not exist, or has no such address. */
const NO_SUCH_NAME = ['ENOTFOUND', 'ENODATA'];

/** An address of a name. */
export interface Address {
  readonly address: string;
  readonly family: number;
}

/** Every address of a name, in the order in which to try them; rejects with an errno (`ENOTFOUND`, `ETIMEOUT`, …). */
export type Look = (host: string) => Promise<readonly Address[]>;

const system = new Slots(MAX_SYSTEM_LOOKUPS);
const never = new AbortController().signal;

export const lookUp: Look = async (host) => {
  const own = await inHosts(host);
  if (own.length > 0) return own;
  const begun = performance.now();
  try {
    return await atNameServers(host);
  } catch (error) {
    const lack = lackOfDescriptors();
    if (lack !== undefined) throw lack;
    if (isErrno(error, ...NO_SUCH_NAME)) return bySystem(host);
    // Without a name server, or if it refuses names of this network, the system may know another way.
    // After a long wait without an answer, the system's resolver would only wait as long again.
    if (performance.now() - begun >= QUICK_MS) throw error;
    return bySystem(host).catch((own) => {
      throw lacksDescriptors(own) ? own : error;
    });
  }
};

/** IPv4 first: IPv6 is often there and leads nowhere. Whoever connects tries both soon enough. */
function atNameServers(host: string): Promise<Address[]> {
  return new Promise((resolve, reject) => {
    // A new resolver reads resolv.conf as it is now.
    const resolver = new Resolver(QUESTIONS);
    const found = new Map<number, string[]>();
    const errors: Error[] = [];
    let timer: NodeJS.Timeout | undefined;
    const end = () => {
      clearTimeout(timer);
      resolver.cancel();
      const all = [4, 6].flatMap((family) =>
        (found.get(family) ?? []).map((address) => ({ address, family })),
      );
      if (all.length > 0) resolve(all);
      // A failed question may hide addresses, so it is not known that the name does not exist.
      else reject(errors.find((error) => !isErrno(error, ...NO_SUCH_NAME)) ?? errors[0]);
    };
    const hear = (family: number) => (error: Error | null, addresses: string[] | undefined) => {
      if (error !== null) errors.push(error);
      else found.set(family, addresses ?? []);
      if (found.size + errors.length === 2) end();
      else if (error === null && found.get(family)?.length !== 0) timer = setTimeout(end, OTHER_FAMILY_MS);
    };
    resolver.resolve4(host, hear(4));
    resolver.resolve6(host, hear(6));
  });
}

async function bySystem(host: string): Promise<readonly Address[]> {
  const release = await system.acquire(never);
  try {
    return await lookup(host, { all: true });
  } catch (error) {
    throw lackOfDescriptors() ?? error;
  } finally {
    release();
  }
}

/** What a lookup may have found in its way that calls it an unknown name. */
function lackOfDescriptors(): unknown {
  try {
    closeSync(openSync(devNull, 'r'));
    return undefined;
  } catch (error) {
    return lacksDescriptors(error) ? error : undefined;
  }
}
