// IP addresses in ranges: who may push, whose word on a client's address is taken, where a redirect must not lead.
import { BlockList, isIP } from 'node:net';

/** Addresses that share their first `prefix` bits. */
export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** Reads `10.0.0.0/8`, `fd00::/8`, or a single address; undefined for anything else. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [, address = '', digits] = /^([0-9a-f.:]{2,45})(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return undefined;
  const longest = version === 4 ? 32 : 128;
  const prefix = digits === undefined ? longest : Number(digits);
  return prefix > longest ? undefined : { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

/** A set of addresses, given as ranges. */
export class Addresses {
  readonly #list = new BlockList();

  constructor(ranges: readonly AddressRange[]) {
    for (const { address, prefix, family } of ranges) this.#list.addSubnet(address, prefix, family);
  }

  /** Whether `address` is one of them; false for what is no address. */
  has(address: string): boolean {
    const plain = plainAddress(address);
    const version = isIP(plain);
    return version !== 0 && this.#list.check(plain, version === 4 ? 'ipv4' : 'ipv6');
  }
}

/** An IPv4 address that IPv6 sockets show as `::ffff:10.0.0.1`, as it is; any other text unchanged. */
export function plainAddress(address: string): string {
  return /^::ffff:(\d+\.[0-9.]+)$/i.exec(address)?.[1] ?? address;
}

function ranges(...texts: string[]): AddressRange[] {
  return texts.map((text) => {
    const range = parseAddressRange(text);
    if (range === undefined) throw new TypeError(`${text} is no range of addresses`);
    return range;
  });
}

/** This machine. */
export const LOOPBACK: readonly AddressRange[] = ranges('127.0.0.0/8', '::1');

/** What no stranger should be able to send us to: this machine, private networks, and what is no single host. */
export const PRIVATE = new Addresses([
  ...LOOPBACK,
  ...ranges('0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'),
  ...ranges('192.168.0.0/16', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'),
  ...ranges('::', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8', '64:ff9b::/96', '64:ff9b:1::/48'),
]);
