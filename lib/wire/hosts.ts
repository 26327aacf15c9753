// The names that this machine gives addresses itself, in /etc/hosts: they go before what name servers say (hosts(5)). A
// container's other names stand there too.
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { Address } from './lookups.ts';

const FILE = '/etc/hosts';
/** Block lists of some users are that long. */
const MAX_BYTES = 64 << 20;

/** The addresses that the file has for the name; none if there is no such file. */
export async function inHosts(name: string, file = FILE): Promise<Address[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.length > MAX_BYTES ? [] : addressesIn(text, name);
}

/** In the order of the lines; names are compared without case and the root's dot. */
export function addressesIn(text: string, name: string): Address[] {
  const wanted = plain(name);
  const found: Address[] = [];
  for (const line of text.split('\n')) {
    // A quick filter: few of thousands of lines contain the name.
    if (!line.toLowerCase().includes(wanted)) continue;
    const [address = '', ...names] = (line.split('#')[0] ?? '').trim().split(/\s+/);
    const family = isIP(address);
    if (family !== 0 && names.some((one) => plain(one) === wanted)) found.push({ address, family });
  }
  return found;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}
