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

const MOST_ASKED = 1000;

/** A set of addresses, given as ranges. */
export class Addresses {
  readonly #list = new BlockList();
  readonly #isEmpty: boolean;
  /** What was asked lately: the same clients come again and again, and to look through a list takes as long as a small answer. */
  readonly #asked = new Map<string, boolean>();

  constructor(ranges: readonly AddressRange[]) {
    this.#isEmpty = ranges.length === 0;
    for (const { address, prefix, family } of ranges) this.#list.addSubnet(address, prefix, family);
  }

  /** Whether `address` is one of them; false for what is no address. */
  has(address: string): boolean {
    // As most are; and every request asks some.
    if (this.#isEmpty) return false;
    let is = this.#asked.get(address);
    if (is === undefined) {
      const plain = plainAddress(address);
      const version = isIP(plain);
      is = version !== 0 && this.#list.check(plain, version === 4 ? 'ipv4' : 'ipv6');
      if (this.#asked.size >= MOST_ASKED) this.#asked.clear();
      this.#asked.set(address, is);
    }
    return is;
  }
}

/** An IPv4 address that IPv6 sockets show as `::ffff:10.0.0.1`, as it is; any other text unchanged. */
export function plainAddress(address: string): string {
  if (!address.startsWith('::')) return address;
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
const PRIVATE = new Addresses([
  ...LOOPBACK,
  ...ranges('0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'),
  ...ranges('192.168.0.0/16', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'),
  ...ranges('::/96', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8'),
]);
/** From these the resolvers of some proxies give every name an address, by which the proxy knows it again. */
const FAKE = new Addresses(ranges('198.18.0.0/15'));

/** Whether it is no single host of the public Internet; an IPv6 address that stands for an IPv4 one is where that is. */
export function isPrivate(address: string): boolean {
  return PRIVATE.has(address) || embedded(address).some((inside) => PRIVATE.has(inside));
}

/** The same of an address that a name was looked up as. */
export function isPrivateAnswer(address: string): boolean {
  return isPrivate(address) && !FAKE.has(plainAddress(address));
}

/** The IPv4 address for which a translator takes an IPv6 one (RFC 6052, 8215, 3056); several if more than one way fits. */
function embedded(address: string): string[] {
  const bytes = isIP(address) === 6 ? ipv6Bytes(address) : [];
  const at = (...places: number[]) => places.map((place) => bytes[place]).join('.');
  const startsWith = (...prefix: number[]) => prefix.every((byte, place) => bytes[place] === byte);
  const isZeroFrom = (place: number) => bytes.slice(place).every((byte) => byte === 0);
  if (startsWith(0x20, 0x02)) return [at(2, 3, 4, 5)];
  if (startsWith(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0)) return [at(12, 13, 14, 15)];
  if (!startsWith(0, 0x64, 0xff, 0x9b, 0, 1)) return [];
  // The network operator's prefix: of 48, 56, 64 or 96 bits, with zeros behind the address except in the last case.
  const all = [at(12, 13, 14, 15)];
  if (isZeroFrom(11)) all.push(at(6, 7, 9, 10));
  if (isZeroFrom(12)) all.push(at(7, 9, 10, 11));
  if (isZeroFrom(13)) all.push(at(9, 10, 11, 12));
  const said = all.filter((inside) => inside !== '0.0.0.0');
  return said.length === 0 ? ['0.0.0.0'] : said;
}

/** Its sixteen bytes; of no zone. */
export function ipv6Bytes(address: string): number[] {
  // The URL parser leaves nothing but groups of hexadecimal digits and at most one "::".
  const plain = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1);
  const [head = [], tail = []] = plain.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = Array<string>(8 - head.length - tail.length).fill('0');
  return [...head, ...zeros, ...tail].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
